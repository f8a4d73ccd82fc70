"""The layout of what travels: frames of records.

::

    frame   header (24 B) | record | record | ... | sizes of the parts (8 B each)
    record  fields (32 B) | payload, padded to 8 B

A frame stays small. Payloads of 32 KiB and more transfer out of band, as *parts*
that follow the frame as messages of their own, straight from and into their
final memory; the frame only lists their sizes. A record says how many of the
frame's parts are its own, in order.

Numbers are in the byte order of the machine; a frame of another order, another
version or with any length that does not add up is refused whole.
"""
from bsbpool._core.vector cimport grow
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

cdef enum:
    MOST_PART_BITS = 46  # a frame with more bytes of parts than 64 TiB is none

assert sizeof(header_t) == 24
assert sizeof(record_t) == 32


cdef void frame_init(frame_t *f) noexcept nogil:
    memset(f, 0, sizeof(frame_t))


cdef void frame_free(frame_t *f) noexcept nogil:
    free(f.data)
    free(f.part_sizes)
    frame_init(f)


cdef int frame_append(frame_t *f, const record_t *record, const void *payload) noexcept nogil:
    """Append a record and its inline payload of `record.size` bytes.

    With the flag PAYLOAD_OUT nothing is inline and `record.size` is 0.
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
    """List a part of the record that is appended next or was appended last."""
    if grow(<void **>&f.part_sizes, &f.part_capacity, f.n_parts + 1, 8) < 0:
        return WIRE_NO_MEMORY
    f.part_sizes[f.n_parts] = size
    f.n_parts += 1
    return 0


cdef int frame_seal(frame_t *f, uint32_t run_id) noexcept nogil:
    """Write the header and the sizes; `f.data[:f.size]` can then be sent."""
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
    header.reserved = 0
    header.run_id = run_id
    header.n_records = f.n_records
    header.n_parts = <uint32_t>f.n_parts
    header.size = <uint64_t>end
    memcpy(f.data, &header, sizeof(header_t))
    return 0


cdef int cursor_open(cursor_t *c, const void *data, uint64_t size) noexcept nogil:
    """Check a frame's header and prepare to read its records."""
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
    """Refuse sizes of parts that no memory can hold; before any is asked for."""
    cdef uint64_t left = <uint64_t>1 << MOST_PART_BITS
    cdef uint64_t size
    cdef uint32_t i
    for i in range(c.header.n_parts):
        size = cursor_part_size(c, i)
        if size > left:
            return WIRE_MALFORMED
        left -= size
    return 0


cdef uint64_t cursor_part_size(cursor_t *c, uint32_t part) noexcept nogil:
    """Return the size of part number `part` of the frame, which must be listed."""
    cdef uint64_t size
    memcpy(&size, c.data + c.end + 8 * <uint64_t>part, 8)
    return size


cdef int cursor_next(cursor_t *c, record_t *record, const uint8_t **payload) noexcept nogil:
    """Read a record: 1 when there was one, 0 at the end of a whole frame."""
    cdef uint64_t room
    if c.records_left == 0:
        return 0 if c.at == c.end and c.parts_left == 0 else WIRE_MALFORMED
    room = c.end - c.at
    if room < sizeof(record_t):
        return WIRE_MALFORMED
    memcpy(record, c.data + c.at, sizeof(record_t))
    room -= sizeof(record_t)
    if record.size > room or ((record.size + 7) & ~<uint64_t>7) > room:
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
