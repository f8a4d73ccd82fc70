from libc.stdint cimport uint8_t

cdef class ProcessMonitor:
    cdef int *ranks
    cdef int *pids
    cdef uint8_t *reported
    cdef int n

    cdef void report_all_again(self) noexcept nogil
    cdef int next_dead(self) noexcept nogil
