"""Memory that a message was received into, as a Python buffer without a copy."""
from bsbpool._core.protocol.message cimport part_alloc
from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy


cdef class Buffer:
    """Writable memory allocated by the transport. Freed with the last reference to it."""

    def __dealloc__(self):
        free(self.data)

    def __len__(self):
        return self.size

    def copy(self):
        """Return a copy."""
        cdef void *data = part_alloc(<uint64_t>self.size)
        if data == NULL:
            raise MemoryError()
        with nogil:
            memcpy(data, self.data, self.size)
        return buffer_own(data, <uint64_t>self.size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size, 0, flags)


cdef Buffer buffer_own(void *data, uint64_t size):
    """Wrap memory from malloc. The buffer becomes its owner."""
    cdef Buffer buffer = Buffer.__new__(Buffer)
    buffer.data = data
    buffer.size = <Py_ssize_t>size
    return buffer
