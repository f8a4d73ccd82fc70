from cpython.buffer cimport Py_buffer
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    /* One cache line for each rank of the node. */
    typedef struct {
        uint32_t asleep;
        uint32_t rung;
        char rest[56];
    } bell_t;
    """
    ctypedef struct bell_t:
        uint32_t asleep
        uint32_t rung

cdef class Bells:
    cdef Py_buffer view
    cdef int32_t *slots  # by rank: the place of its bell, or -1
    cdef readonly int n_ranks
    cdef int own
    cdef readonly bint complete  # every rank has a bell
    cdef uint32_t seen

    cdef void ring(self, int rank) noexcept nogil
    cdef void ring_own(self) noexcept nogil
    cdef void lie_down(self) noexcept nogil
    cdef void sleep(self, int64_t ns) noexcept nogil
    cdef void get_up(self) noexcept nogil
