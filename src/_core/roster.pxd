from bsbpool._core.vector cimport ints_t
from libc.stdint cimport uint32_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass

cdef class Roster:
    cdef readonly set lost
    cdef readonly set away
    cdef readonly set departed
    cdef dict behind  # rank that is away: the epoch of its job
    cdef pthread_mutex_t mutex  # for `returned`: who tells of it may not have the GIL
    cdef ints_t returned  # ranks that have come back, each with the epoch that they left

    cdef void note_return(self, int peer, uint32_t epoch) noexcept nogil
    cdef int next_returned(self) except -2
    cdef int note_loss(self, int peer) except -1
