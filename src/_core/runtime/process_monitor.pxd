from libc.stdint cimport uint8_t

cdef class ProcessMonitor:
    cdef int *ranks
    cdef int *pids
    cdef uint8_t *told
    cdef int n

    cdef void forget(self) noexcept nogil
    cdef int next_dead(self) noexcept nogil
