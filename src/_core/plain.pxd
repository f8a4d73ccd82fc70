from libc.stdint cimport uint8_t

cdef enum:
    PLAIN_MOST = 512  # bytes of a pickle that is made here

cdef int plain_dump(object value, uint8_t *out) except -1
cdef object plain_load(const uint8_t *data, Py_ssize_t size)
