from libc.stdint cimport uint8_t, uint64_t

# The order matters: first the statuses of jobs that have not ended, then SUCCESS, then the ends
# without a result.
cpdef enum Status:
    PENDING = 0
    QUEUED = 1
    RUNNING = 2
    SUCCESS = 3
    FAILED = 4
    CANCELLED = 5
    ABORTED = 6

cdef enum:
    N_STATUSES = 7  # at most 8, because the table below has 64 bits

ctypedef const char *name_t

cdef enum:
    TO_QUEUED = 1 << QUEUED
    TO_RUNNING = 1 << RUNNING
    TO_SUCCESS = 1 << SUCCESS
    TO_FAILED = 1 << FAILED
    TO_CANCELLED = 1 << CANCELLED
    TO_ABORTED = 1 << ABORTED

# The table of legal transitions as a number: eight bits for each status, one for each legal next
# status. The bits of a terminal status are 0.
cdef inline uint64_t status_table() noexcept nogil:
    return (
        <uint64_t>(TO_QUEUED | TO_CANCELLED) << (8 * PENDING)
        # QUEUED -> FAILED: the arguments of the job could not be sent.
        | <uint64_t>(TO_RUNNING | TO_FAILED | TO_CANCELLED) << (8 * QUEUED)
        # RUNNING -> QUEUED: its worker died before it began the job.
        | <uint64_t>(TO_QUEUED | TO_SUCCESS | TO_FAILED | TO_CANCELLED | TO_ABORTED)
        << (8 * RUNNING)
    )


cdef inline bint status_is_legal(uint8_t old, uint8_t new) noexcept nogil:
    return (status_table() >> (8 * old + new)) & 1


cdef inline bint status_is_terminal(uint8_t status) noexcept nogil:
    return (status_table() >> (8 * status)) & 0xFF == 0


cdef inline bint status_is_unsuccessful(uint8_t status) noexcept nogil:
    """Whether a job has ended without a result, so that its dependents cannot run."""
    return status > SUCCESS


cdef inline name_t status_name(uint8_t status) noexcept nogil:
    cdef name_t[N_STATUSES] names = [
        b"PENDING", b"QUEUED", b"RUNNING", b"SUCCESS", b"FAILED", b"CANCELLED", b"ABORTED"
    ]
    return names[status]
