"""A thread that stands in for another while that is busy for long.

The first thread holds the guard, and gives it away while it does something that may take
long. The watch looks every millisecond at first; when the guard has been away for that long, it
takes it and calls `attend`. It never waits for the guard, and while nothing happens it
sleeps, so that neither costs the other anything.
"""
from bsbpool._core.pause cimport now_ns
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
    enum { WATCH_STACK = 1 << 20, WATCH_GUARD = 1 << 16 };
    static char *watch_stack;
    static int watch_stack_used;

    /* A stack that one watch after the other uses. The C library gives the pages of its own stacks
       back when a thread ends, and UCX notes each such event until it registers memory the next
       time, which may be never: 160 bytes for each pool. */
    static int watch_own_stack(pthread_attr_t *attr) {
        if (watch_stack_used) return 0;
        if (!watch_stack) {
            char *found = mmap(NULL, WATCH_GUARD + WATCH_STACK, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (found == MAP_FAILED) return 0;
            mprotect(found, WATCH_GUARD, PROT_NONE);
            watch_stack = found + WATCH_GUARD;
        }
        watch_stack_used = !pthread_attr_setstack(attr, watch_stack, WATCH_STACK);
        return watch_stack_used;
    }
    static void watch_give_stack_back(void) { watch_stack_used = 0; }

    /* Signals are for the threads that Python knows. */
    static int watch_begin(pthread_t *t, void *(*f)(void *), void *arg, int *own_stack) {
        sigset_t all, before;
        pthread_attr_t attr;
        int code;
        pthread_attr_init(&attr);
        *own_stack = watch_own_stack(&attr);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        code = pthread_create(t, &attr, f, arg);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
        if (code && *own_stack) watch_give_stack_back();
        return code;
    }
    static void watch_doze(sem_t *bell, long ns) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += ns;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        sem_timedwait(bell, &t);
    }
    #else  /* not every system has semaphores of this kind */
    static int watch_begin(pthread_t *t, void *(*f)(void *), void *arg, int *own_stack) {
        (void)t; (void)f; (void)arg; (void)own_stack;
        return -1;
    }
    static void watch_give_stack_back(void) {}
    static void watch_doze(sem_t *bell, long ns) { (void)bell; (void)ns; }
    #endif
    #define watch_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    int watch_begin(pthread_t *, void *(*)(void *) noexcept nogil, void *, int *)
    void watch_give_stack_back()
    void watch_doze(sem_t *, long) nogil
    void watch_fence() nogil

cdef enum:
    LOOK_NS = 1_000_000
    LONG_NS = 16_000_000  # what has taken so long is looked at less often
    LONG_LOOK_NS = 4_000_000
    REST_NS = 50_000_000  # how long it sleeps while nothing happens


cdef class Watch:
    """To be inherited; the heir's `attend` runs in the watch's thread."""

    def __cinit__(self):
        pthread_mutex_init(&self.guard, NULL)
        sem_init(&self.bell, 0, 0)

    def __dealloc__(self):
        sem_destroy(&self.bell)
        pthread_mutex_destroy(&self.guard)

    cdef int start_watch(self) except -1:
        """Begin; the calling thread then holds the guard."""
        pthread_mutex_lock(&self.guard)
        self.quits = self.asleep = False
        self.busy_since = 0
        # Without a thread to spare things go on, only not as promptly.
        self.watched = watch_begin(
            &self.thread, watch, <void *>self, &self.own_stack
        ) == 0
        return 0

    cdef void stop_watch(self) noexcept:
        if self.watched:
            self.quits = True
            sem_post(&self.bell)
            with nogil:
                pthread_mutex_unlock(&self.guard)
                pthread_join(self.thread, NULL)
            self.watched = False
            if self.own_stack:
                watch_give_stack_back()

    cdef void give(self, int64_t now) noexcept nogil:
        """Give the guard away, at the time `now`."""
        if self.watched:
            self.busy_since = now
            self.given += 1
            watch_fence()
            if self.asleep:
                self.asleep = False
                sem_post(&self.bell)
            pthread_mutex_unlock(&self.guard)

    cdef void take(self) noexcept nogil:
        """Have the guard back."""
        if self.watched:
            pthread_mutex_lock(&self.guard)
            self.busy_since = 0

    cdef void attend(self) noexcept nogil:
        """Do what cannot wait, with the guard."""

    cdef void look(self) noexcept nogil:
        cdef int64_t seen = -1
        while not self.quits:
            if self.given == seen and self.busy_since == 0:
                self.asleep = True
                watch_fence()  # either `give` sees that, or this sees what `give` did
                if self.given == seen and self.busy_since == 0:
                    watch_doze(&self.bell, REST_NS)
                self.asleep = False
            elif self.busy_since and now_ns() - self.busy_since > LONG_NS:
                watch_doze(&self.bell, LONG_LOOK_NS)
            else:
                watch_doze(&self.bell, LOOK_NS)
            seen = self.given
            if self.busy_since and pthread_mutex_trylock(&self.guard) == 0:
                if self.busy_since and now_ns() - self.busy_since >= LOOK_NS:
                    self.attend()
                pthread_mutex_unlock(&self.guard)


cdef void *watch(void *arg) noexcept nogil:
    (<Watch>arg).look()
    return NULL
