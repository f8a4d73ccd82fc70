"""Writing Python objects into messages and reading them back."""
from bsbpool._core.protocol.buffer cimport buffer_own
from bsbpool._core.protocol.message cimport message_free, message_new, message_t
from bsbpool._core.protocol.wire cimport (
    PAYLOAD_OUT,
    cursor_check_parts,
    cursor_next,
    cursor_open,
    cursor_part_size,
    cursor_t,
    frame_append,
    frame_free,
    frame_init,
    frame_part,
    frame_seal,
    record_t,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_Check, PyMemoryView_GET_BUFFER
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    OUT_OF_BAND = 32 * 1024  # payloads of at least this size are sent as parts
    MAX_PARTS = 0xFFFF  # of a record, including its payload


_NOT_A_FRAME = (
    "A message was not written by this version of bsbpool; all ranks must run the same version"
)


class MalformedFrameError(ValueError):
    """Raised for a message that is not a valid frame of this version."""


cdef class FrameWriter:
    """Collects records for a message. Out-of-band parts are not copied."""

    def __cinit__(self):
        frame_init(&self.frame)

    def __dealloc__(self):
        frame_free(&self.frame)

    def __len__(self):
        return self.frame.n_records

    @property
    def size(self):
        """The size of the records so far in bytes, without parts."""
        return self.frame.size

    def add(self, kind, id, aux=0, flags=0, extra=0, payload=None, buffers=()):
        """Append a record.

        Parameters
        ----------
        kind : int
            A `RecordKind`.
        id, aux, flags, extra : int
            The fields of the record; their meaning depends on the kind.
        payload : bytes, optional
            The payload.
        buffers : collection of memoryview, optional
            Contiguous buffers to send out of band.
        """
        self.put(kind, id, aux, flags, extra, payload, buffers)

    cdef int put(
        self, uint8_t kind, int64_t id, uint32_t aux, uint8_t flags, uint64_t extra,
        bytes payload, buffers,
    ) except -1:
        cdef record_t record
        cdef const char *data = NULL
        if len(buffers) >= MAX_PARTS:
            raise ValueError(
                f"a record can have at most {MAX_PARTS - 1} buffers, got {len(buffers)}"
            )
        record.kind = kind
        record.flags = flags
        record.aux = aux
        record.id = id
        record.extra = extra
        record.size = 0
        record.n_parts = <uint16_t>len(buffers)
        if payload is not None:
            data = PyBytes_AS_STRING(payload)
            record.size = <uint64_t>PyBytes_GET_SIZE(payload)
        if record.size >= OUT_OF_BAND:
            record.size = 0
            record.flags |= PAYLOAD_OUT
            record.n_parts += 1
            self.add_part(memoryview(payload))
        for buffer in buffers:
            self.add_part(buffer)
        if frame_append(&self.frame, &record, data) < 0:
            raise MemoryError()
        return 0

    cdef int put_scalars(
        self, uint8_t kind, int64_t id, uint32_t aux, uint8_t flags, uint64_t extra,
        const uint8_t *data, uint64_t size,
    ) noexcept nogil:
        """Append a record with a short payload or none; return -1 if memory is out."""
        cdef record_t record
        record.kind = kind
        record.flags = flags
        record.n_parts = 0
        record.aux = aux
        record.id = id
        record.size = size
        record.extra = extra
        return frame_append(&self.frame, &record, data)

    cdef message_t *seal_scalars(self, int peer, uint32_t run_id) noexcept nogil:
        """Return the records as a message without parts and reset; return NULL if out of memory."""
        cdef message_t *m
        if frame_seal(&self.frame, run_id) < 0:
            return NULL
        m = message_new(peer, 0)
        if m != NULL:
            m.frame = self.frame.data
            m.frame_size = <uint64_t>self.frame.size
            self.frame.data = NULL
            frame_free(&self.frame)
        return m

    cdef int add_part(self, view) except -1:
        if not PyMemoryView_Check(view) or not view.c_contiguous:
            raise TypeError(f"buffers must be contiguous memoryviews, got {view!r}")
        if self.pinned is None:
            self.pinned = []
        self.pinned.append(view)
        if frame_part(&self.frame, <uint64_t>view.nbytes) < 0:
            raise MemoryError()
        return 0

    cdef message_t *seal(self, int peer, uint32_t run_id) except NULL:
        """Return the records as a message and reset."""
        cdef message_t *m
        cdef uint32_t i
        if frame_seal(&self.frame, run_id) < 0:
            raise MemoryError()
        m = message_new(peer, 0 if self.pinned is None else <uint32_t>len(self.pinned))
        if m == NULL:
            raise MemoryError()
        for i in range(m.n_parts):
            m.parts[i].data = PyMemoryView_GET_BUFFER(self.pinned[i]).buf
            m.parts[i].size = self.frame.part_sizes[i]
        if m.n_parts:
            m.pinned = <void *>self.pinned
            Py_INCREF(self.pinned)
            self.pinned = None
        m.frame = self.frame.data
        m.frame_size = <uint64_t>self.frame.size
        self.frame.data = NULL
        frame_free(&self.frame)
        return m

    def to_bytes(self, uint32_t run_id=0):
        """Return the frame without its parts as bytes, and reset. For tests of the layout."""
        cdef message_t *m = self.seal(0, run_id)
        try:
            return PyBytes_FromStringAndSize(<char *>m.frame, <Py_ssize_t>m.frame_size)
        finally:
            if m.pinned != NULL:
                Py_DECREF(<object>m.pinned)
            message_free(m)


cdef class FrameReader:
    """Reads the records of messages, one message at a time."""

    def __dealloc__(self):
        if self.message != NULL:
            message_free(self.message)

    cdef int open(self, message_t *message) except -1:
        """Begin to read a message. The reader becomes its owner, even if this raises."""
        cdef uint32_t i
        if self.message != NULL:
            message_free(self.message)
        self.message = message
        self.next_part = 0
        if cursor_open(&self.cursor, message.frame, message.frame_size) < 0:
            raise MalformedFrameError(_NOT_A_FRAME)
        if self.cursor.header.n_parts != message.n_parts:
            raise MalformedFrameError("A message is incomplete: some of its parts are missing")
        for i in range(message.n_parts):
            if cursor_part_size(&self.cursor, i) != message.parts[i].size:
                raise MalformedFrameError("A message is corrupt: the length of a part is wrong")
        return 0

    cdef bint next(self) except -1:
        """Advance to the next record; return False at the end of the message."""
        cdef int code
        # Skip the parts of the last record that were not read.
        self.next_part = self.cursor.header.n_parts - self.cursor.parts_left
        code = cursor_next(&self.cursor, &self.record, &self.inline_payload)
        if code < 0:
            raise MalformedFrameError("A message is corrupt: its lengths do not add up")
        return code == 1

    cdef object payload(self):
        """Return the payload of the record: bytes, or a Buffer if it was sent out of band."""
        if self.record.flags & PAYLOAD_OUT:
            return self.take_part()
        return PyBytes_FromStringAndSize(
            <const char *>self.inline_payload, <Py_ssize_t>self.record.size
        )

    cdef list buffers(self):
        """Return the out-of-band buffers of the record. To be called after `payload`."""
        cdef int n = self.record.n_parts - (1 if self.record.flags & PAYLOAD_OUT else 0)
        return [self.take_part() for _ in range(n)]

    cdef uint64_t payload_bytes(self) noexcept nogil:
        """Return the bytes of the payload and the buffers of the record."""
        cdef uint32_t end = self.cursor.header.n_parts - self.cursor.parts_left
        cdef uint64_t size = self.record.size
        cdef uint32_t i
        for i in range(end - self.record.n_parts, end):
            size += self.message.parts[i].size
        return size

    cdef object numbers(self):
        """Return the payload of the record as a memoryview of unsigned 64-bit numbers."""
        view = memoryview(self.payload())
        if view.nbytes % 8:
            raise MalformedFrameError(
                f"A message is corrupt: {view.nbytes} bytes are no array of 64-bit numbers"
            )
        return view.cast("B").cast("Q")

    cdef object take_part(self):
        cdef void *data = self.message.parts[self.next_part].data
        cdef uint64_t size = self.message.parts[self.next_part].size
        self.message.parts[self.next_part].data = NULL
        self.next_part += 1
        return buffer_own(data, size)


def read_frame(const uint8_t[::1] data):
    """Return the records of a frame. For tests and fuzzing.

    Returns
    -------
    list of tuple
        (kind, id, aux, flags, extra, payload, number of parts) of each record.
    """
    cdef cursor_t cursor
    cdef record_t record
    cdef const uint8_t *payload
    cdef int code
    records = []
    if data.shape[0] == 0 or cursor_open(&cursor, &data[0], <uint64_t>data.shape[0]) < 0:
        raise MalformedFrameError(_NOT_A_FRAME)
    while True:
        code = cursor_next(&cursor, &record, &payload)
        if code == 0:
            return records
        if code < 0:
            raise MalformedFrameError("A message is corrupt: its lengths do not add up")
        body = PyBytes_FromStringAndSize(<const char *>payload, <Py_ssize_t>record.size)
        records.append((
            record.kind, record.id, record.aux, record.flags, record.extra, body,
            record.n_parts,
        ))


def read_part_sizes(const uint8_t[::1] data):
    """Return the sizes of the parts that a frame lists, checked as transports do. For tests."""
    cdef cursor_t cursor
    cdef uint32_t i
    if (
        data.shape[0] == 0
        or cursor_open(&cursor, &data[0], <uint64_t>data.shape[0]) < 0
        or cursor_check_parts(&cursor) < 0
    ):
        raise MalformedFrameError(_NOT_A_FRAME)
    return [cursor_part_size(&cursor, i) for i in range(cursor.header.n_parts)]
