from cpython.buffer cimport Py_buffer
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    /* Two cache lines for each rank of the node: one that others look at with each message, and
       one that its owner writes with each job. */
    typedef struct {
        uint32_t asleep;
        uint32_t rung;
        char rest[56];
        uint64_t begun;  /* epoch and number + 1 of the job that was begun last */
        uint32_t signal;  /* that its owner died of */
        char more[52];
    } bell_t;
    """
    ctypedef struct bell_t:
        uint32_t asleep
        uint32_t rung
        uint64_t begun
        uint32_t signal

cdef class Bells:
    cdef Py_buffer view
    cdef int32_t *slots  # by rank: the place of its bell, or -1
    cdef readonly int n_ranks
    cdef int own
    cdef readonly bint complete  # every rank has a bell
    cdef uint32_t seen

    cdef uint64_t *begun_place(self) noexcept nogil
    cdef uint32_t *signal_place(self) noexcept nogil
    cdef int64_t begun_by(self, int rank, uint32_t epoch) noexcept nogil
    cdef void ring(self, int rank) noexcept nogil
    cdef void ring_own(self) noexcept nogil
    cdef void lie_down(self) noexcept nogil
    cdef void sleep(self, int64_t ns) noexcept nogil
    cdef void get_up(self) noexcept nogil
