from libc.stdint cimport uint8_t

cdef enum:
    MAX_SCALARS = 512  # bytes of a pickle that `scalars_dump` makes

cdef int scalars_dump(object value, uint8_t *out) except -1
cdef int scalars_dump_call(tuple args, dict keywords, Py_ssize_t position, uint8_t *out) except -1
cdef bint scalars_are_mutable(const uint8_t *data, Py_ssize_t size) noexcept
cdef bint scalars_are_readable(const uint8_t *data, Py_ssize_t size) noexcept
cdef object scalars_load(const uint8_t *data, Py_ssize_t size)
