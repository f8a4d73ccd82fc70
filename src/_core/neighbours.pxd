cdef class Neighbours:
    cdef int *ranks
    cdef int *pids  # 0: it is gone
    cdef int n

    cdef int next_dead(self) noexcept nogil
