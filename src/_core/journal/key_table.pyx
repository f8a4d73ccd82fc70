"""The jobs of a journal by their keys, as they are read from the file."""
from bsbpool._core.journal.crc32 cimport crc32_init
from bsbpool._core.journal.layout cimport (
    ATTEMPT, ENDED, HEADER_SIZE, MARKER, body_t, end_of_record, frame_t,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

assert sizeof(entry_t) == 32
crc32_init()

cdef enum:
    SMALLEST_TABLE = 1024
    FIRST_BYTE = MARKER & 0xFF


cdef class KeyTable:
    """The jobs of a journal by their keys: a hash table of 32 bytes for each slot.

    Attributes
    ----------
    n : int
        The number of jobs.
    """

    def __cinit__(self):
        self.capacity = SMALLEST_TABLE
        self.entries = <entry_t *>calloc(SMALLEST_TABLE, sizeof(entry_t))
        if self.entries == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.entries)

    def __len__(self):
        return self.n

    cdef entry_t *find(self, const uint8_t *key) noexcept nogil:
        """Return the entry of a key, or the free slot where it belongs."""
        cdef uint64_t at
        memcpy(&at, key, 8)  # keys are digests, so any of their bits are a hash
        while True:
            at &= <uint64_t>self.capacity - 1
            if not self.entries[at].is_used or memcmp(self.entries[at].key, key, 16) == 0:
                return self.entries + at
            at += 1

    cdef entry_t *find_or_add(self, const uint8_t *key) except NULL:
        cdef entry_t *entry = self.find(key)
        if entry.is_used:
            return entry
        if self.n * 3 >= self.capacity * 2:
            self.resize()
            entry = self.find(key)
        memcpy(entry.key, key, 16)
        entry.is_used = True
        entry.offset = -1
        self.n += 1
        return entry

    cdef int resize(self) except -1:
        cdef entry_t *old = self.entries
        cdef int64_t n = self.capacity
        cdef int64_t i
        self.entries = <entry_t *>calloc(<size_t>(2 * n), sizeof(entry_t))
        if self.entries == NULL:
            self.entries = old
            raise MemoryError()
        self.capacity = 2 * n
        for i in range(n):
            if old[i].is_used:
                self.find(old[i].key)[0] = old[i]
        free(old)
        return 0

    def get(self, bytes key not None):
        """Return the status, the offset of the last end (-1: none), the attempts, and whether the
        program has queued the job; None without an entry."""
        cdef entry_t *entry
        if PyBytes_GET_SIZE(key) != 16:
            raise ValueError(f"key must have 16 bytes, got {len(key)}")
        entry = self.find(<const uint8_t *>PyBytes_AS_STRING(key))
        if not entry.is_used:
            return None
        return entry.status, entry.offset, entry.attempts, bool(entry.was_seen)

    def see(self, bytes key not None):
        """Note that the program has queued the job with a key."""
        cdef entry_t *entry = self.find(<const uint8_t *>PyBytes_AS_STRING(key))
        if PyBytes_GET_SIZE(key) == 16 and entry.is_used:
            entry.was_seen = True

    def unseen(self, int status):
        """Return the offsets of the ends with a status whose jobs the program did not queue."""
        cdef int64_t i
        return sorted([
            self.entries[i].offset
            for i in range(self.capacity)
            if self.entries[i].is_used and self.entries[i].offset >= 0
            and not self.entries[i].was_seen and self.entries[i].status == status
        ])

    def unfinished(self):
        """Return the keys and the attempts of the jobs of which no end is known."""
        cdef int64_t i
        return [
            (PyBytes_FromStringAndSize(<const char *>self.entries[i].key, 16),
             self.entries[i].attempts)
            for i in range(self.capacity)
            if self.entries[i].is_used and self.entries[i].offset < 0
        ]

    def offsets(self):
        """Return the offset of the last end of each job, in the order of the file."""
        cdef int64_t i
        return sorted([
            self.entries[i].offset
            for i in range(self.capacity)
            if self.entries[i].is_used and self.entries[i].offset >= 0
        ])

    cdef int enter(self, const uint8_t *body_at, int64_t offset) except -1:
        """Note an end or an attempt."""
        cdef body_t body
        cdef entry_t *entry
        memcpy(&body, body_at, sizeof(body_t))
        entry = self.find_or_add(body.key)
        entry.attempts = max(entry.attempts, body.attempts)
        if body.kind == ENDED:
            entry.offset = offset
            entry.status = body.status
            entry.payload_kind = body.payload_kind
        return 0

    def read(self, const uint8_t[::1] data not None, int64_t start=HEADER_SIZE):
        """Enter the records of a file.

        Parameters
        ----------
        data : bytes-like
            The whole file.
        start : int
            The offset of the first record.

        Returns
        -------
        end : int
            Where the last intact record ends. What follows was written in part, or is damaged.
        damaged : list of tuple
            The begin and the end of each part before that which is damaged.
        others : list of int
            The offsets of the records that are not about single jobs.
        """
        cdef int64_t size = data.shape[0]
        cdef const uint8_t *file = &data[0] if size else NULL
        cdef int64_t at = start
        cdef int64_t next
        cdef uint8_t kind
        cdef list damaged = []
        cdef list others = []
        while at < size:
            next = end_of_record(file, at, size)
            if next < 0:
                with nogil:
                    next = next_record(file, end_of_damaged(file, at, size), size)
                if next < 0:
                    break
                damaged.append((at, next))
                at = next
                continue
            kind = file[at + <int64_t>sizeof(frame_t)]
            if kind == ENDED or kind == ATTEMPT:
                self.enter(file + at + sizeof(frame_t), at)
            else:
                others.append(at)
            at = next
        return min(at, size), damaged, others


cdef int64_t end_of_damaged(const uint8_t *file, int64_t at, int64_t size) noexcept nogil:
    """Return from where to look for the record after a damaged one.

    If its sizes agree with each other, that is its end: its payload can be a journal, whose records
    must not be taken for records of this one. A record at the end of a file may be cut off.
    """
    cdef frame_t frame
    cdef body_t body
    cdef uint64_t need, of_buffer
    cdef uint32_t i
    cdef int64_t sizes = at + <int64_t>(sizeof(frame_t) + sizeof(body_t))
    if sizes > size:
        return at + 1
    memcpy(&frame, file + at, sizeof(frame_t))
    memcpy(&body, file + at + sizeof(frame_t), sizeof(body_t))
    if frame.marker != MARKER or body.payload_size > frame.size:
        return at + 1
    need = sizeof(body_t) + 8 * <uint64_t>body.n_buffers + body.payload_size + body.text_size
    for i in range(body.n_buffers):
        if need > frame.size or sizes + 8 * (<int64_t>i + 1) > size:
            return at + 1
        memcpy(&of_buffer, file + sizes + 8 * <int64_t>i, 8)
        if of_buffer > frame.size:
            return at + 1
        need += of_buffer
    if need != frame.size:
        return at + 1
    return at + <int64_t>(sizeof(frame_t) + frame.size)


cdef int64_t next_record(const uint8_t *file, int64_t at, int64_t size) noexcept nogil:
    """Return the offset of the next intact record from an offset on; -1 if there is none."""
    cdef const void *found
    while at < size:
        found = memchr(file + at, FIRST_BYTE, <size_t>(size - at))
        if found == NULL:
            return -1
        at = <const uint8_t *>found - file
        if end_of_record(file, at, size) >= 0:
            return at
        at += 1
    return -1
