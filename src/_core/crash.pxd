from libc.stdint cimport uint32_t, uint64_t

cdef bint crash_arm(int rank, const uint64_t *begun, uint32_t *signal) noexcept nogil
cdef void crash_name(const char *function) noexcept nogil
cdef void crash_disarm() noexcept nogil
