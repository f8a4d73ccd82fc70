from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport cursor_t, record_t
from libc.stdint cimport int64_t, uint8_t

cdef enum:
    # What becomes of a JOB record that will not run here.
    WITHDRAWN = 0x7E  # main cancelled it
    STOLEN = 0x7F  # main gives it to another worker

# Jobs that have not begun: first the rest of the open message, then the others.
ctypedef struct waiting_t:
    cursor_t cursor
    record_t record
    uint8_t *place  # of the record in its frame; its first byte is the kind
    message_t *following
    bint valid

cdef class Inbox:
    cdef FrameReader reader
    cdef message_t *first  # what was not opened yet, oldest first
    cdef bint opened  # the reader has records left
    cdef bint begins  # the reader's record is a job that is about to run
    cdef int64_t skipped  # the job that main took back while it was about to run

    cdef void add(self, message_t *m) noexcept nogil
    cdef bint next(self) except -1
    cdef bint empty(self) noexcept nogil
    cdef void take_back(self, int64_t job) noexcept nogil
    cdef void begin(self, waiting_t *at) noexcept nogil

cdef bint waiting_next(waiting_t *at) noexcept nogil
