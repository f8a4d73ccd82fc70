from bsbpool._core.journal.layout cimport body_t
from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef class RecordBuffer:
    cdef uint8_t *data
    cdef readonly int64_t size
    cdef public object on_first
    cdef int64_t capacity
    cdef uint8_t *spare  # memory for the records after the next `take`, or NULL
    cdef int64_t spare_capacity

    cdef int append(
        self, body_t *body, const void *payload, const uint64_t *sizes, tuple parts, bytes text
    ) except -1


cdef class Batch:
    cdef uint8_t *data
    cdef int64_t size
    cdef int64_t capacity
    cdef int n_views  # buffers that other objects have of it
