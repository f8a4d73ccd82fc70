from libc.stdint cimport int64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass

cdef class ProgressThread:
    cdef pthread_mutex_t guard
    cdef sem_t wake_semaphore
    cdef pthread_t thread
    cdef volatile int64_t busy_since  # 0: no job runs
    cdef volatile int64_t given  # how often the guard was given away
    cdef volatile bint asleep
    cdef volatile bint quits
    cdef bint tracked
    cdef int own_stack

    cdef int start_progress_thread(self) except -1
    cdef void stop_progress_thread(self) noexcept
    cdef void give(self, int64_t now) noexcept nogil
    cdef void take(self) noexcept nogil
    cdef void progress(self) noexcept nogil
    cdef void look(self) noexcept nogil
