from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport cursor_t, frame_t, record_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef class FrameWriter:
    cdef frame_t frame
    cdef list pinned  # the owners of the parts; None without parts

    cdef int put(
        self, uint8_t kind, int64_t id, uint32_t aux, uint8_t flags, uint64_t extra,
        bytes payload, buffers,
    ) except -1
    cdef int put_scalars(
        self, uint8_t kind, int64_t id, uint32_t aux, uint8_t flags, uint64_t extra,
        const uint8_t *data, uint64_t size,
    ) noexcept nogil
    cdef message_t *seal_scalars(self, int peer, uint32_t run_id) noexcept nogil
    cdef int add_part(self, view) except -1
    cdef message_t *seal(self, int peer, uint32_t run_id) except NULL

cdef class FrameReader:
    cdef message_t *message
    cdef cursor_t cursor
    cdef uint32_t next_part
    cdef record_t record
    cdef const uint8_t *inline_payload

    cdef int open(self, message_t *message) except -1
    cdef bint next(self) except -1
    cdef object payload(self)
    cdef list buffers(self)
    cdef uint64_t payload_bytes(self) noexcept nogil
    cdef object numbers(self)
    cdef object take_part(self)
