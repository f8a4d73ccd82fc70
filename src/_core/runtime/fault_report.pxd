from libc.stdint cimport uint32_t, uint64_t

cdef bint fault_report_arm(int rank, const uint64_t *begun, uint32_t *signal) noexcept nogil
cdef void fault_report_name(const char *function) noexcept nogil
cdef void fault_report_disarm() noexcept nogil
