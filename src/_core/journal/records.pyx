"""The records of a journal in memory, until they are written, and when they are read.

`layout.pxd` describes the file. The main thread appends records to a `RecordBuffer`; the writer
thread takes them out as a `Batch`, and computes the checksums without the GIL.
"""
from bsbpool._core.journal.crc32 cimport crc32_init
from bsbpool._core.journal.layout cimport (
    ATTEMPT, ENDED, ERROR, MARKER, NAME, NOT_KEPT, NOTHING, PICKLE, RUN, SIDE_FILE, body_t,
    checksum, end_of_record, frame_t,
)
from bsbpool._core.vector cimport grow
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import enum

cdef extern from *:
    """
    #ifdef __linux__
    #include <fcntl.h>
    #define journal_start_writing(fd, at, n) sync_file_range(fd, at, n, SYNC_FILE_RANGE_WRITE)
    #else
    #define journal_start_writing(fd, at, n) 0
    #endif
    """
    int journal_start_writing(int fd, int64_t offset, int64_t size) noexcept nogil

cdef enum:
    MOST_KEPT = 4 << 20  # bytes of memory that is used again

assert sizeof(frame_t) == 12 and sizeof(body_t) == 64
crc32_init()

RecordKind = enum.IntEnum(
    "RecordKind", {"ENDED": ENDED, "ATTEMPT": ATTEMPT, "NAME": NAME, "RUN": RUN},
    module=__name__,
)
PayloadKind = enum.IntEnum(
    "PayloadKind",
    {
        "NOTHING": NOTHING, "PICKLE": PICKLE, "SIDE_FILE": SIDE_FILE, "NOT_KEPT": NOT_KEPT,
        "ERROR": ERROR,
    },
    module=__name__,
)


cdef class RecordBuffer:
    """Records that were not yet written to the file.

    Attributes
    ----------
    size : int
        Their size in bytes.
    on_first : callable or None
        Called when there is a record, after there was none. Not before: then the thread that it
        wakes could find nothing, and sleep again.
    """

    def __dealloc__(self):
        free(self.data)
        free(self.spare)

    def add(
        self, int kind, int status, int payload_kind, bytes key not None, payload=b"", buffers=(),
        bytes text=b"", int attempts=0, int64_t time_ns=0, int64_t run_ns=0, int rank=-1,
        uint32_t name=0,
    ):
        """Append a record; see `layout.pxd`.

        Parameters
        ----------
        kind, status, payload_kind : int
            A `RecordKind`, a `Status`, a `PayloadKind`.
        key : bytes
            16 bytes.
        payload, buffers : bytes-like, sequence of bytes-like
            The result or the error.
        text : bytes
            The text of the error.
        attempts, time_ns, run_ns, rank, name : int
            As in `body_t`.
        """
        cdef body_t body
        cdef bytes numbers
        if PyBytes_GET_SIZE(key) != 16:
            raise ValueError(f"key must have 16 bytes, got {len(key)}")
        memset(&body, 0, sizeof(body_t))
        body.kind, body.status, body.payload_kind = kind, status, payload_kind
        body.attempts, body.rank, body.name = attempts, rank, name
        body.time_ns, body.run_ns = time_ns, run_ns
        memcpy(body.key, PyBytes_AS_STRING(key), 16)
        parts = (payload, *buffers)
        body.n_buffers = len(parts) - 1
        body.payload_size = len(payload)
        numbers = b"".join([len(part).to_bytes(8, "little") for part in parts[1:]])
        self.append(&body, NULL, <const uint64_t *>PyBytes_AS_STRING(numbers), parts, text)

    cdef int append(
        self, body_t *body, const void *payload, const uint64_t *sizes, tuple parts, bytes text
    ) except -1:
        """Append a record; `payload`, or `parts` if it is NULL, are the data after the sizes."""
        cdef uint64_t need = sizeof(body_t) + 8 * body.n_buffers + body.payload_size
        cdef uint32_t i
        cdef uint8_t *at
        cdef frame_t frame
        for i in range(body.n_buffers):
            need += sizes[i]
        body.text_size = 0 if text is None else <uint32_t>PyBytes_GET_SIZE(text)
        need += body.text_size
        if need > 0xFFFFFFFF:
            raise OverflowError("a record of a journal is at most 4 GiB long")
        frame = frame_t(MARKER, <uint32_t>need, 0)
        if grow(
            <void **>&self.data, &self.capacity, self.size + <int64_t>(sizeof(frame_t) + need), 1
        ) < 0:
            raise MemoryError()
        at = self.data + self.size
        memcpy(at, &frame, sizeof(frame_t))
        at += sizeof(frame_t)
        memcpy(at, body, sizeof(body_t))
        at += sizeof(body_t)
        if body.n_buffers:  # else `sizes` may be NULL
            memcpy(at, sizes, 8 * body.n_buffers)
            at += 8 * body.n_buffers
        if payload != NULL:
            memcpy(at, payload, body.payload_size)
            at += body.payload_size
        else:
            for i in range(body.n_buffers + 1):
                at = copied(
                    parts[i], at, <int64_t>(body.payload_size if i == 0 else sizes[i - 1])
                )
        if body.text_size:
            memcpy(at, PyBytes_AS_STRING(text), body.text_size)
        self.size += <int64_t>(sizeof(frame_t) + need)  # here: nothing remains after an error
        if self.on_first is not None and self.size == <int64_t>(sizeof(frame_t) + need):
            self.on_first()
        return 0

    def take(self):
        """Remove and return all records as a `Batch`."""
        cdef Batch batch = Batch.__new__(Batch)
        batch.data, batch.size, batch.capacity = self.data, self.size, self.capacity
        self.data, self.capacity = self.spare, self.spare_capacity
        self.spare = NULL
        self.size = self.spare_capacity = 0
        return batch

    def reuse(self, Batch batch not None):
        """Use the memory of records that were written for later ones; nothing remains of the batch.

        New memory is cleared by the system, which takes longer than to append the records.
        """
        if batch.n_views or self.spare != NULL or batch.capacity > MOST_KEPT:
            return
        self.spare, self.spare_capacity = batch.data, batch.capacity
        batch.data = NULL
        batch.size = batch.capacity = 0


cdef uint8_t *copied(object part, uint8_t *at, int64_t size) except NULL:
    """Copy a bytes-like object of a size in bytes to `at`; return the end of the copy."""
    cdef Py_buffer view
    PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
    try:
        if view.len != size:
            raise ValueError(f"a buffer has {view.len} bytes, not {size}")
        if size:  # the address of no bytes may be NULL
            memcpy(at, view.buf, <size_t>size)
    finally:
        PyBuffer_Release(&view)
    return at + size


cdef class Batch:
    """Records for the writer thread; a bytes-like object."""

    def __dealloc__(self):
        free(self.data)

    def __len__(self):
        return self.size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.size, 1, flags)
        self.n_views += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.n_views -= 1

    def seal(self):
        """Enter the checksums of all records."""
        cdef int64_t at = 0
        cdef frame_t frame
        with nogil:
            while at < self.size:
                memcpy(&frame, self.data + at, sizeof(frame_t))
                frame.crc = checksum(self.data + at, frame.size)
                memcpy(self.data + at, &frame, sizeof(frame_t))
                at += <int64_t>(sizeof(frame_t) + frame.size)

    def whole_records(self, int64_t size):
        """Return how many of the first `size` bytes are whole records."""
        cdef int64_t at = 0
        cdef frame_t frame
        while at < self.size:
            memcpy(&frame, self.data + at, sizeof(frame_t))
            if at + <int64_t>(sizeof(frame_t) + frame.size) > size:
                break
            at += <int64_t>(sizeof(frame_t) + frame.size)
        return at


def parse(record):
    """Return the contents of one record.

    Parameters
    ----------
    record : bytes-like
        The record, with its frame.

    Returns
    -------
    tuple
        The arguments of `RecordBuffer.add` from `kind` to `buffers`, then a dict of the others.

    Raises
    ------
    ValueError
        If the record is damaged.
    """
    cdef const uint8_t[::1] data = record
    cdef body_t body
    cdef int64_t at, n
    cdef uint64_t size
    cdef uint32_t i
    n = data.shape[0]
    if n == 0 or end_of_record(&data[0], 0, n) != n:
        raise ValueError("the record is damaged")
    memcpy(&body, &data[sizeof(frame_t)], sizeof(body_t))
    at = <int64_t>(sizeof(frame_t) + sizeof(body_t)) + 8 * <int64_t>body.n_buffers
    view = memoryview(record)
    if at > n:  # before the sizes are read, since indexes are not checked
        raise ValueError("the record has wrong sizes")
    sizes = [body.payload_size]
    for i in range(body.n_buffers):
        memcpy(&size, &data[<int64_t>(sizeof(frame_t) + sizeof(body_t)) + 8 * i], 8)
        sizes.append(size)
    if at + sum(sizes) + body.text_size != n:
        raise ValueError("the record has wrong sizes")
    parts = []
    for part in sizes:
        parts.append(view[at:at + part])
        at += part
    others = dict(
        text=bytes(view[at:]), attempts=body.attempts, time_ns=body.time_ns, run_ns=body.run_ns,
        rank=body.rank, name=body.name,
    )
    key = PyBytes_FromStringAndSize(<const char *>body.key, 16)
    return body.kind, body.status, body.payload_kind, key, parts[0], parts[1:], others


def start_writing(int fd, int64_t offset, int64_t size):
    """Let the system begin to write a part of a file to the disk, without waiting for it.

    Only a hint: the next `fsync` has less to do. It does nothing where the system cannot do that.
    """
    with nogil:
        journal_start_writing(fd, offset, size)


def size_of(const uint8_t[::1] frame not None):
    """Return the size of a record from its frame, which are its first 12 bytes."""
    cdef frame_t read
    if frame.shape[0] != sizeof(frame_t):
        raise ValueError("a frame has 12 bytes")
    memcpy(&read, &frame[0], sizeof(frame_t))
    if read.marker != MARKER:
        raise ValueError("there is no record")
    return <int64_t>(sizeof(frame_t) + read.size)
