from libc.stdint cimport uint8_t

cdef class ProcessMonitor:
    cdef int *ranks
    cdef int *pids
    cdef uint8_t *reported
    cdef int n
    cdef int main  # the index of rank 0, -1 if it is not monitored
    cdef bint looks_at_main  # whether the present look has rank 0 still to come
    cdef int position  # the next process of the present look, or of the next one
    cdef int n_left  # how many processes the present look has still to come

    cdef void begin_look(self, int most) noexcept nogil
    cdef void report_all_again(self) noexcept nogil
    cdef int next_dead(self) noexcept nogil
