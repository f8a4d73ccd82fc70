from libc.stdint cimport uint8_t

cpdef enum Status:
    PENDING = 0
    QUEUED = 1
    RUNNING = 2
    SUCCESS = 3
    FAILED = 4
    CANCELLED = 5
    ABORTED = 6

cdef enum:
    N_STATUSES = 7

cdef bint status_is_terminal(uint8_t status) noexcept nogil
cdef bint status_is_legal(uint8_t old, uint8_t new) noexcept nogil
