from bsbpool._core.vector cimport ints_t
from libc.stdint cimport uint32_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef class Membership:
    cdef readonly set lost
    cdef readonly set away
    cdef readonly set terminated
    cdef dict last_runs  # by rank that is away: the run of its job
    cdef pthread_mutex_t mutex  # for `returned`, which is written without the GIL
    cdef ints_t returned  # ranks that have left a run, each followed by the run

    cdef void record_return(self, int peer, uint32_t run_id) noexcept nogil
    cdef int take_return(self) except -2
    cdef int record_loss(self, int peer) except -1
