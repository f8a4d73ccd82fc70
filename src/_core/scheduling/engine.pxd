from bsbpool._core.scheduling.dispatcher cimport action_t, change_t, dispatcher_t
from libc.stdint cimport int64_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)

cdef class Engine:
    cdef dispatcher_t d
    cdef pthread_mutex_t mutex
    cdef tuple statuses
    cdef int64_t told_unneeded

    cdef void lock(self) noexcept nogil
    cdef void unlock(self) noexcept nogil
    cdef int raise_fault(self) except -1
    cdef int64_t take_actions(self, action_t **actions) except -1
    cdef int64_t take_log(self, change_t **changes) noexcept
    cdef int known(self, int64_t job) except -1
