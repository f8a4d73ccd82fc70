"""The wire format: frames of records.

::

    frame   header (48 B) | record | record | ... | sizes of the parts (8 B each)
    record  fields (32 B) | payload, padded to 8 B

Frames are small. Payloads of 32 KiB and more are sent out of band, as *parts*: messages of their
own that follow the frame, sent from and received into their final memory. The frame lists only the
sizes of the parts. Each record has the number of its parts; they are in the order of the records.

Numbers are in the byte order of the machine. A frame of another byte order, of another version, or
with inconsistent lengths is refused as a whole.
"""
from bsbpool._core.vector cimport grow
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

cdef enum:
    MAX_PART_BITS = 46  # frames with parts of more than 64 TiB in total are refused

assert sizeof(header_t) == 48
assert sizeof(record_t) == 32


cdef void frame_init(frame_t *f) noexcept nogil:
    memset(f, 0, sizeof(frame_t))


cdef void frame_free(frame_t *f) noexcept nogil:
    free(f.data)
    free(f.part_sizes)
    frame_init(f)


cdef int frame_append(frame_t *f, const record_t *record, const void *payload) noexcept nogil:
    """Append a record and its inline payload of `record.size` bytes.

    With the flag PAYLOAD_OUT, `record.size` is 0 and there is no inline payload.
    """
    cdef int64_t start = f.size if f.size else <int64_t>sizeof(header_t)
    cdef int64_t padded = <int64_t>((record.size + 7) & ~<uint64_t>7)
    cdef int64_t end = start + <int64_t>sizeof(record_t) + padded
    if grow(<void **>&f.data, &f.capacity, end, 1) < 0:
        return WIRE_NO_MEMORY
    memcpy(f.data + start, record, sizeof(record_t))
    if padded:
        memset(f.data + end - 8, 0, 8)
        memcpy(f.data + start + sizeof(record_t), payload, record.size)
    f.size = end
    f.n_records += 1
    return 0


cdef int frame_part(frame_t *f, uint64_t size) noexcept nogil:
    """Add the size of a part. Its record is the last one or the next one."""
    if grow(<void **>&f.part_sizes, &f.part_capacity, f.n_parts + 1, 8) < 0:
        return WIRE_NO_MEMORY
    f.part_sizes[f.n_parts] = size
    f.n_parts += 1
    return 0


cdef int frame_seal(frame_t *f, uint32_t run_id) noexcept nogil:
    """Write the header and the sizes of the parts, so that `f.data[:f.size]` can be sent."""
    cdef header_t header
    cdef int64_t start = f.size if f.size else <int64_t>sizeof(header_t)
    cdef int64_t end = start + 8 * f.n_parts
    if grow(<void **>&f.data, &f.capacity, end, 1) < 0:
        return WIRE_NO_MEMORY
    if f.n_parts:
        memcpy(f.data + start, f.part_sizes, <size_t>(8 * f.n_parts))
    f.size = end
    header.magic = WIRE_MAGIC
    header.version = WIRE_VERSION
    header.route = DIRECT
    header.number = header.confirmed = 0
    header.run_id = run_id
    header.n_records = f.n_records
    header.n_parts = <uint32_t>f.n_parts
    header.size = <uint64_t>end
    header.time_ns = f.time_ns
    header.peak_kib = f.peak_kib
    memcpy(f.data, &header, sizeof(header_t))
    return 0


cdef int cursor_open(cursor_t *c, const void *data, uint64_t size) noexcept nogil:
    """Check the header of a frame and prepare to read its records."""
    cdef uint64_t tail
    if size < sizeof(header_t):
        return WIRE_MALFORMED
    memcpy(&c.header, data, sizeof(header_t))
    if c.header.magic != WIRE_MAGIC or c.header.version != WIRE_VERSION:
        return WIRE_MALFORMED
    tail = 8 * <uint64_t>c.header.n_parts
    if c.header.size != size or size < sizeof(header_t) + tail:
        return WIRE_MALFORMED
    c.data = <const uint8_t *>data
    c.at = sizeof(header_t)
    c.end = size - tail
    c.records_left = c.header.n_records
    c.parts_left = c.header.n_parts
    return 0


cdef int cursor_check_parts(cursor_t *c) noexcept nogil:
    """Refuse part sizes that no memory can hold, before any memory is allocated."""
    cdef uint64_t left = <uint64_t>1 << MAX_PART_BITS
    cdef uint64_t size
    cdef uint32_t i
    for i in range(c.header.n_parts):
        size = cursor_part_size(c, i)
        if size > left:
            return WIRE_MALFORMED
        left -= size
    return 0


cdef uint64_t cursor_part_size(cursor_t *c, uint32_t part) noexcept nogil:
    """Return the size of the part with the number `part`, which must exist."""
    cdef uint64_t size
    memcpy(&size, c.data + c.end + 8 * <uint64_t>part, 8)
    return size


cdef int cursor_next(cursor_t *c, record_t *record, const uint8_t **payload) noexcept nogil:
    """Read a record; return 1, or 0 at the end of a consistent frame."""
    cdef uint64_t left
    if c.records_left == 0:
        return 0 if c.at == c.end and c.parts_left == 0 else WIRE_MALFORMED
    left = c.end - c.at
    if left < sizeof(record_t):
        return WIRE_MALFORMED
    memcpy(record, c.data + c.at, sizeof(record_t))
    left -= sizeof(record_t)
    if record.size > left or ((record.size + 7) & ~<uint64_t>7) > left:
        return WIRE_MALFORMED
    if record.n_parts > c.parts_left:
        return WIRE_MALFORMED
    if record.flags & PAYLOAD_OUT and (record.n_parts == 0 or record.size):
        return WIRE_MALFORMED
    payload[0] = c.data + c.at + sizeof(record_t)
    c.at += sizeof(record_t) + ((record.size + 7) & ~<uint64_t>7)
    c.parts_left -= record.n_parts
    c.records_left -= 1
    return 1
