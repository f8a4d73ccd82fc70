from libc.stdint cimport uint64_t

cdef class Buffer:
    cdef void *data
    cdef Py_ssize_t size

cdef Buffer buffer_own(void *data, uint64_t size)
