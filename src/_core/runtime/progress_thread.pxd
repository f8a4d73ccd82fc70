from libc.stdint cimport int64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef unsigned long pthread_t
    ctypedef struct pthread_mutex_t:
        pass

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass

cdef class ProgressThread:
    cdef pthread_mutex_t mutex  # the owner holds it, except while it is busy
    cdef sem_t wake_semaphore
    cdef pthread_t thread
    cdef volatile int64_t busy_since  # 0: the owner is not busy
    cdef volatile int64_t n_busy  # how often the owner has been busy
    cdef volatile bint asleep
    cdef volatile bint quits
    cdef bint has_thread
    cdef bint was_started
    cdef int shared_stack  # whether the thread uses the stack that all such threads share

    cdef int start_progress_thread(self) except -1
    cdef void stop_progress_thread(self) noexcept
    cdef void begin_busy(self, int64_t now) noexcept nogil
    cdef void end_busy(self) noexcept nogil
    cdef void progress(self) noexcept nogil
    cdef void after_progress(self) noexcept nogil
    cdef void loop(self) noexcept nogil
