"""What main sent to a worker and has not had its turn.

Messages are kept as they came, and read record by record. A job that will not run here
is marked in its frame, so that nothing has to be moved or looked up when its turn comes.
Nothing here needs the interpreter but `next`, so the watch may use it as well; whoever
does has the guard (see `worker`).
"""
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.wire cimport JOB, cursor_next, cursor_open
from libc.stdint cimport int64_t, uint8_t


cdef class Inbox:
    """The messages of one run id, in order.

    `next` goes to the next record, which is then that of `reader`.
    """

    def __cinit__(self):
        self.reader = FrameReader()
        self.skipped = -1

    def __dealloc__(self):
        cdef message_t *m
        while self.first != NULL:
            m = self.first
            self.first = m.next
            message_free(m)

    cdef void add(self, message_t *m) noexcept nogil:
        """Take a message, which the inbox then owns."""
        cdef message_t **link = &self.first
        while link[0] != NULL:
            link = &link[0].next
        m.next = NULL
        link[0] = m

    cdef bint next(self) except -1:
        """Go to the next record; False when there is none."""
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

    cdef bint empty(self) noexcept nogil:
        """Whether nothing has come that was not looked at; an open message may have an end left."""
        return not self.opened and self.first == NULL

    cdef void take_back(self, int64_t job) noexcept nogil:
        """Mark a job as taken back, if it has not begun."""
        cdef waiting_t at
        if self.begins and self.reader.record.id == job:
            self.skipped = job
        self.begin(&at)
        while waiting_next(&at):
            if at.record.id == job:
                at.place[0] = WITHDRAWN
                return

    cdef void begin(self, waiting_t *at) noexcept nogil:
        """Prepare to go through the jobs that have not begun, with `waiting_next`."""
        at.following = self.first
        at.valid = self.opened
        if self.opened:
            at.cursor = self.reader.cursor


cdef bint waiting_next(waiting_t *at) noexcept nogil:
    """Go to the next JOB record; False after the last."""
    cdef const uint8_t *payload
    while True:
        while at.valid:
            at.place = <uint8_t *>at.cursor.data + at.cursor.at
            if cursor_next(&at.cursor, &at.record, &payload) != 1:
                at.valid = False
            elif at.record.kind == JOB:
                return True
        if at.following == NULL:
            return False
        at.valid = cursor_open(&at.cursor, at.following.frame, at.following.frame_size) == 0
        at.following = at.following.next
