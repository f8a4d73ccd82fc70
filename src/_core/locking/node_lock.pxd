from bsbpool._core.locking.shared_page cimport page_t
from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t, uint32_t

cdef class NodeLock:
    cdef Py_buffer view
    cdef page_t page
    cdef bint polls

    cdef uint32_t sleep(self, int64_t ns) noexcept nogil
    cdef uint32_t poll(self) noexcept nogil
    cpdef bint request(self, bint write) except -1
    cpdef list wait(self, progress=*)
    cdef bint has_access(self) noexcept nogil
    cpdef bint cancel(self) noexcept
    cpdef bint release(self) noexcept
    cpdef list find_dead(self)
    cpdef bint abandon(self, int slot) noexcept
    cdef bint must_take_global(self) noexcept nogil
    cpdef void take_global(self, bint write) noexcept
    cpdef bint begin_to_give_back(self) noexcept
    cpdef void end_give_back(self) noexcept
