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
        uint32_t notified;
        char rest[56];
        uint64_t begun;  /* run id and number + 1 of the job that was begun last */
        uint32_t signal;  /* that its owner died of */
        char more[52];
    } wakeup_slot_t;
    """
    ctypedef struct wakeup_slot_t:
        uint32_t asleep
        uint32_t notified
        uint64_t begun
        uint32_t signal

cdef class Wakeup:
    cdef Py_buffer view
    cdef int32_t *slots  # by rank: the place of its slot of, or -1
    cdef readonly int n_ranks
    cdef int own
    cdef readonly bint complete  # every rank has a slot of
    cdef uint32_t seen

    cdef uint64_t *begun_slot(self) noexcept nogil
    cdef uint32_t *signal_slot(self) noexcept nogil
    cdef int64_t begun_by(self, int rank, uint32_t run_id) noexcept nogil
    cdef void notify(self, int rank) noexcept nogil
    cdef void notify_self(self) noexcept nogil
    cdef void prepare_wait(self) noexcept nogil
    cdef void sleep(self, int64_t ns) noexcept nogil
    cdef void end_wait(self) noexcept nogil
