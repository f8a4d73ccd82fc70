"""The messages of the main rank that a worker has received and not processed yet.

Messages are kept as they arrived and read record by record. A job that will not run here is marked
in its frame, so that nothing is moved or looked up when its record is reached. Only `next` needs
the GIL, so the progress thread may use the inbox too. The thread that uses it holds the mutex of
`ProgressThread`.
"""
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.wire cimport GANG_JOB, JOB, cursor_next, cursor_open
from libc.stdint cimport int64_t, uint8_t


cdef class Inbox:
    """The messages of one run, in order; `next` moves `reader` to the next record."""

    def __cinit__(self):
        self.reader = FrameReader()
        self.skipped_job = -1

    def __dealloc__(self):
        cdef message_t *m
        while self.first != NULL:
            m = self.first
            self.first = m.next
            message_free(m)

    cdef void add(self, message_t *m) noexcept nogil:
        """Append a message, which the inbox then owns."""
        cdef message_t **link = &self.first
        while link[0] != NULL:
            link = &link[0].next
        m.next = NULL
        link[0] = m

    cdef bint next(self) except -1:
        """Move to the next record; return False when there is none."""
        cdef message_t *m
        while not self.opened or not self.reader.next():
            self.opened = False
            if self.first == NULL:
                return False
            m = self.first
            self.first = m.next
            m.next = NULL
            self.reader.open(m)
            self.opened = True
        return True

    cdef bint is_empty(self) noexcept nogil:
        """Whether no message is left; an open message may be at its end."""
        return not self.opened and self.first == NULL

    cdef void skip(self, int64_t job) noexcept nogil:
        """Mark a job as skipped, if it has not begun."""
        cdef job_iter_t it
        if self.is_starting and self.reader.record.id == job:
            self.skipped_job = job
        self.iterate(&it)
        while job_iter_next(&it):
            if it.record.id == job:
                it.place[0] = SKIPPED if it.record.kind == JOB else GANG_SKIPPED
                return

    cdef void iterate(self, job_iter_t *it) noexcept nogil:
        """Start an iteration over the jobs that have not begun."""
        it.next_message = self.first
        it.valid = self.opened
        if self.opened:
            it.cursor = self.reader.cursor


cdef bint job_iter_next(job_iter_t *it) noexcept nogil:
    """Move to the next JOB or GANG_JOB record; return False after the last one."""
    cdef const uint8_t *payload
    while True:
        while it.valid:
            it.place = <uint8_t *>it.cursor.data + it.cursor.at
            if cursor_next(&it.cursor, &it.record, &payload) != 1:
                it.valid = False
            elif it.record.kind == JOB or it.record.kind == GANG_JOB:
                return True
        if it.next_message == NULL:
            return False
        it.valid = cursor_open(&it.cursor, it.next_message.frame, it.next_message.frame_size) == 0
        it.next_message = it.next_message.next
