from bsbpool._core.locking.shared_page cimport page_t
from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t, uint32_t

cdef class NodeLock:
    cdef Py_buffer view
    cdef page_t page
    cdef uint32_t sleep(self, int64_t ns) noexcept nogil
    cdef list find_dead(self)
