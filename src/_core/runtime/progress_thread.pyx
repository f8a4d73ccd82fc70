"""A thread that stands in for another while that is busy for long.

The first thread holds the guard, and gives it away while it does something that may take
long. The run progress thread looks every millisecond at first; when the guard has been away for that long, it
takes it and calls `progress`. It never waits for the guard, and while nothing happens it
sleeps, so that neither costs the other anything.
"""
from bsbpool._core.comm.backoff cimport now_ns
from libc.stdint cimport int64_t

cdef extern from "<pthread.h>" nogil:
    int pthread_join(pthread_t, void **)
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_trylock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)

cdef extern from "<semaphore.h>" nogil:
    int sem_init(sem_t *, int, unsigned int)
    int sem_post(sem_t *)
    int sem_destroy(sem_t *)

cdef extern from *:
    """
    #include <pthread.h>
    #include <signal.h>
    #include <time.h>
    #ifdef __linux__
    #include <sys/mman.h>
    enum { PROGRESS_STACK = 1 << 20, PROGRESS_STACK_GUARD = 1 << 16 };
    static char *progress_stack;
    static int progress_stack_used;

    /* A stack that one run progress thread after the other uses. The C library gives the pages of its own stacks
       back when a thread ends, and UCX notes each such event until it registers memory the next
       time, which may be never: 160 bytes for each pool. */
    static int progress_own_stack(pthread_attr_t *attr) {
        if (progress_stack_used) return 0;
        if (!progress_stack) {
            char *found = mmap(NULL, PROGRESS_STACK_GUARD + PROGRESS_STACK, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (found == MAP_FAILED) return 0;
            mprotect(found, PROGRESS_STACK_GUARD, PROT_NONE);
            progress_stack = found + PROGRESS_STACK_GUARD;
        }
        progress_stack_used = !pthread_attr_setstack(attr, progress_stack, PROGRESS_STACK);
        return progress_stack_used;
    }
    static void progress_release_stack(void) { progress_stack_used = 0; }

    /* Signals are for the threads that Python knows. */
    static int progress_begin(pthread_t *t, void *(*f)(void *), void *arg, int *own_stack) {
        sigset_t all, before;
        pthread_attr_t attr;
        int code;
        pthread_attr_init(&attr);
        *own_stack = progress_own_stack(&attr);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        code = pthread_create(t, &attr, f, arg);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        if (code && *own_stack) progress_release_stack();
        return code;
    }
    static void progress_wait(sem_t *wake_semaphore, long ns) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += ns;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        sem_timedwait(wake_semaphore, &t);
    }
    #else  /* not every system has semaphores of this kind */
    static int progress_begin(pthread_t *t, void *(*f)(void *), void *arg, int *own_stack) {
        (void)t; (void)f; (void)arg; (void)own_stack;
        return -1;
    }
    static void progress_release_stack(void) {}
    static void progress_wait(sem_t *wake_semaphore, long ns) { (void)wake_semaphore; (void)ns; }
    #endif
    #define progress_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    int progress_begin(pthread_t *, void *(*)(void *) noexcept nogil, void *, int *)
    void progress_release_stack()
    void progress_wait(sem_t *, long) nogil
    void progress_fence() nogil

cdef enum:
    LOOK_NS = 1_000_000
    LONG_NS = 16_000_000  # what has taken so long is looked at less often
    LONG_LOOK_NS = 4_000_000
    REST_NS = 50_000_000  # how long it sleeps while nothing happens


cdef class ProgressThread:
    """To be inherited; the heir's `progress` runs in the run progress thread's thread."""

    def __cinit__(self):
        pthread_mutex_init(&self.guard, NULL)
        sem_init(&self.wake_semaphore, 0, 0)

    def __dealloc__(self):
        sem_destroy(&self.wake_semaphore)
        pthread_mutex_destroy(&self.guard)

    cdef int start_progress_thread(self) except -1:
        """Begin; the calling thread then holds the guard."""
        pthread_mutex_lock(&self.guard)
        self.quits = self.asleep = False
        self.busy_since = 0
        # Without a thread to spare things go on, only not as promptly.
        self.tracked = progress_begin(
            &self.thread, run_progress_thread, <void *>self, &self.own_stack
        ) == 0
        return 0

    cdef void stop_progress_thread(self) noexcept:
        if self.tracked:
            self.quits = True
            sem_post(&self.wake_semaphore)
            with nogil:
                pthread_mutex_unlock(&self.guard)
                pthread_join(self.thread, NULL)
            self.tracked = False
            if self.own_stack:
                progress_release_stack()

    cdef void give(self, int64_t now) noexcept nogil:
        """Give the guard away, at the time `now`."""
        if self.tracked:
            self.busy_since = now
            self.given += 1
            progress_fence()
            if self.asleep:
                self.asleep = False
                sem_post(&self.wake_semaphore)
            pthread_mutex_unlock(&self.guard)

    cdef void take(self) noexcept nogil:
        """Have the guard back."""
        if self.tracked:
            pthread_mutex_lock(&self.guard)
            self.busy_since = 0

    cdef void progress(self) noexcept nogil:
        """Do what cannot wait, with the guard."""

    cdef void look(self) noexcept nogil:
        cdef int64_t seen = -1
        while not self.quits:
            if self.given == seen and self.busy_since == 0:
                self.asleep = True
                progress_fence()  # either `give` sees that, or this sees what `give` did
                if self.given == seen and self.busy_since == 0:
                    progress_wait(&self.wake_semaphore, REST_NS)
                self.asleep = False
            elif self.busy_since and now_ns() - self.busy_since > LONG_NS:
                progress_wait(&self.wake_semaphore, LONG_LOOK_NS)
            else:
                progress_wait(&self.wake_semaphore, LOOK_NS)
            seen = self.given
            if self.busy_since and pthread_mutex_trylock(&self.guard) == 0:
                if self.busy_since and now_ns() - self.busy_since >= LOOK_NS:
                    self.progress()
                pthread_mutex_unlock(&self.guard)


cdef void *run_progress_thread(void *arg) noexcept nogil:
    (<ProgressThread>arg).look()
    return NULL
