# The layout of a journal file: a header, and records that are only ever appended.
#
# Numbers are little-endian. Each record is a frame (marker, size and checksum) and a body: a
# `body_t`, the sizes of the buffers, the payload, and the buffers. The checksum covers the size and
# the body. The marker lets a reader find the next record after a damaged one.
from bsbpool._core.journal.crc32 cimport crc32_of
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    HEADER_SIZE = 512
    MARKER = 0x8B4A52BD  # its bytes are no text in ASCII or UTF-8

# What a record is about.
cdef enum:
    ENDED = 1  # a job has ended; the payload is its result or error
    ATTEMPT = 2  # an attempt has failed, and the job runs again; the payload is the error's text
    NAME = 3  # gives a number to the name of a function, which is the payload
    RUN = 4  # a run has begun; the payload is JSON

# What the payload of an ENDED record is.
cdef enum:
    NOTHING = 0  # the result is None, or there is no error
    PICKLE = 1  # the result, with out-of-band buffers
    SIDE_FILE = 2  # JSON that names the file with the result
    NOT_KEPT = 3  # text: why the result is not in the journal
    ERROR = 4  # the pickle of `dump_error`

ctypedef struct frame_t:
    uint32_t marker
    uint32_t size  # of the body
    uint32_t crc

ctypedef struct body_t:
    uint8_t kind
    uint8_t status
    uint8_t payload_kind
    uint8_t unused
    uint32_t attempts  # how often the job has run, over all runs of the program
    uint8_t[16] key
    int64_t time_ns  # since 1970
    int64_t run_ns  # 0: unknown
    int32_t rank  # -1: unknown
    uint32_t name
    uint32_t n_buffers
    uint32_t text_size  # of the text of an error, after the buffers
    uint64_t payload_size


cdef inline uint32_t checksum(const uint8_t *frame, uint32_t size) noexcept nogil:
    """Return the checksum of a record: of its body, combined with that of its size."""
    cdef inline uint32_t of_size = crc32_of(frame + 4, 4)
    return crc32_of(frame + sizeof(frame_t), size) ^ of_size


cdef inline int64_t end_of_record(const uint8_t *file, int64_t at, int64_t size) noexcept nogil:
    """Return the end of the record at an offset; -1 if there is no intact record."""
    cdef frame_t frame
    cdef body_t body
    cdef int64_t end
    if at + <int64_t>(sizeof(frame_t) + sizeof(body_t)) > size:
        return -1
    memcpy(&frame, file + at, sizeof(frame_t))
    end = at + <int64_t>sizeof(frame_t) + <int64_t>frame.size
    if frame.marker != MARKER or frame.size < sizeof(body_t) or end > size:
        return -1
    if checksum(file + at, frame.size) != frame.crc:
        return -1
    memcpy(&body, file + at + sizeof(frame_t), sizeof(body_t))
    if not ENDED <= body.kind <= RUN:
        return -1
    return end
