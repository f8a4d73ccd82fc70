from cpython.buffer cimport Py_buffer
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    /* Two cache lines for each rank of the node: other ranks read the first one for each message,
       and the rank itself writes the second one for each job. */
    typedef struct {
        uint32_t asleep;
        uint32_t notified;
        char padding[56];
        uint64_t begun;  /* the run and the number + 1 of the job that the rank began last */
        uint32_t signal;  /* the signal that killed the rank */
        char padding2[52];
    } wakeup_slot_t;
    """
    ctypedef struct wakeup_slot_t:
        uint32_t asleep
        uint32_t notified
        uint64_t begun
        uint32_t signal

cdef class Wakeup:
    cdef Py_buffer view
    cdef int32_t *slots  # by rank: the index of its slot, -1 for those of other nodes
    cdef readonly int n_ranks
    cdef int own  # the index of this rank's slot
    cdef readonly bint complete
    cdef uint32_t seen  # how often this rank had been notified at `prepare_wait`

    cdef uint64_t *begun_slot(self) noexcept nogil
    cdef uint32_t *signal_slot(self) noexcept nogil
    cdef int64_t begun_by(self, int rank, uint32_t run_id) noexcept nogil
    cdef void notify(self, int rank) noexcept nogil
    cdef void notify_self(self) noexcept nogil
    cdef void prepare_wait(self) noexcept nogil
    cdef void sleep(self, int64_t ns) noexcept nogil
    cdef void end_wait(self) noexcept nogil
