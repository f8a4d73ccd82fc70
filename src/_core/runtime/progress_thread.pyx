"""A thread that makes progress while another one is busy for long.

The owner holds the mutex, and releases it while it does something that may take long. The progress
thread checks every millisecond at first. When the mutex has been free for that long, it takes the
mutex and calls `progress`. It never waits for the mutex, and it sleeps while nothing happens, so
neither thread slows down the other.
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

    /* All progress threads use one stack, one after the other. The C library unmaps its own stacks
       when threads end, and UCX records each unmapping until it registers memory the next time,
       which may be never: 160 bytes for each pool. */
    static int progress_take_stack(pthread_attr_t *attr) {
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

    /* The thread blocks all signals, so that Python's threads handle them. */
    static int progress_begin(pthread_t *t, void *(*f)(void *), void *arg, int *shared_stack) {
        sigset_t all, previous;
        pthread_attr_t attr;
        int code;
        pthread_attr_init(&attr);
        *shared_stack = progress_take_stack(&attr);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &previous);
        code = pthread_create(t, &attr, f, arg);
        pthread_sigmask(SIG_SETMASK, &previous, NULL);
        pthread_attr_destroy(&attr);
        if (code && *shared_stack) progress_release_stack();
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
    #else  /* other systems lack unnamed semaphores */
    static int progress_begin(pthread_t *t, void *(*f)(void *), void *arg, int *shared_stack) {
        (void)t; (void)f; (void)arg; (void)shared_stack;
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
    CHECK_NS = 1_000_000
    LONG_NS = 16_000_000  # after this time the thread checks less often
    LONG_CHECK_NS = 4_000_000
    IDLE_NS = 50_000_000  # the sleep while the owner is not busy


cdef class ProgressThread:
    """The base of classes whose `progress` runs in the progress thread."""

    def __cinit__(self):
        pthread_mutex_init(&self.mutex, NULL)
        sem_init(&self.wake_semaphore, 0, 0)

    def __dealloc__(self):
        sem_destroy(&self.wake_semaphore)
        pthread_mutex_destroy(&self.mutex)

    cdef int start_progress_thread(self) except -1:
        """Start the thread, at the first call; the caller then owns the mutex."""
        if self.was_started:
            return 0
        self.was_started = True
        pthread_mutex_lock(&self.mutex)
        self.quits = self.asleep = False
        self.busy_since = 0
        # If no thread can be created, work continues with slower responses.
        self.has_thread = progress_begin(
            &self.thread, run_progress_thread, <void *>self, &self.shared_stack
        ) == 0
        return 0

    cdef void stop_progress_thread(self) noexcept:
        """Stop the thread and wait for its end."""
        if self.has_thread:
            self.quits = True
            sem_post(&self.wake_semaphore)
            with nogil:
                pthread_mutex_unlock(&self.mutex)
                pthread_join(self.thread, NULL)
            self.has_thread = self.was_started = False
            if self.shared_stack:
                progress_release_stack()

    cdef void begin_busy(self, int64_t now) noexcept nogil:
        """Release the mutex at the time `now`, before something that may take long."""
        if self.has_thread:
            self.busy_since = now
            self.n_busy += 1
            progress_fence()
            if self.asleep:
                self.asleep = False
                sem_post(&self.wake_semaphore)
            pthread_mutex_unlock(&self.mutex)

    cdef void end_busy(self) noexcept nogil:
        """Take the mutex again."""
        if self.has_thread:
            pthread_mutex_lock(&self.mutex)
            self.busy_since = 0

    cdef void progress(self) noexcept nogil:
        """Make progress, with the mutex; subclasses override this."""

    cdef void after_progress(self) noexcept nogil:
        """Do what must not be done with the mutex; subclasses override this."""

    cdef void loop(self) noexcept nogil:
        """Call `progress` while the owner is busy, until it stops the thread."""
        cdef int64_t seen = -1
        while not self.quits:
            if self.n_busy == seen and self.busy_since == 0:
                self.asleep = True
                progress_fence()  # `begin_busy` sees `asleep`, or this thread sees its writes
                if self.n_busy == seen and self.busy_since == 0:
                    progress_wait(&self.wake_semaphore, IDLE_NS)
                self.asleep = False
            elif self.busy_since and now_ns() - self.busy_since > LONG_NS:
                progress_wait(&self.wake_semaphore, LONG_CHECK_NS)
            else:
                progress_wait(&self.wake_semaphore, CHECK_NS)
            seen = self.n_busy
            if self.busy_since and pthread_mutex_trylock(&self.mutex) == 0:
                if self.busy_since and now_ns() - self.busy_since >= CHECK_NS:
                    self.progress()
                pthread_mutex_unlock(&self.mutex)
                self.after_progress()


cdef void *run_progress_thread(void *arg) noexcept nogil:
    (<ProgressThread>arg).loop()
    return NULL
