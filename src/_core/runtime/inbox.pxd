from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport cursor_t, record_t
from libc.stdint cimport int64_t, uint8_t

cdef enum:
    # The inbox overwrites the kind of a JOB record with these when the job will not run here.
    SKIPPED = 0x7E  # the main rank has cancelled the job
    GANG_SKIPPED = 0x7D  # the same, for a GANG_JOB record
    STOLEN = 0x7F  # the job was given back to the main rank

# An iteration over the jobs that have not begun: those left in the open message, then the others.
ctypedef struct job_iter_t:
    cursor_t cursor
    record_t record
    uint8_t *place  # where the record is in its frame; its first byte is the kind
    message_t *next_message
    bint valid

cdef class Inbox:
    cdef FrameReader reader
    cdef message_t *first  # the messages that are not open yet, oldest first
    cdef bint opened  # whether the reader may have records left
    cdef bint is_starting  # whether the reader's record is a job that is about to run
    cdef int64_t skipped_job  # the job that was cancelled while it was about to run

    cdef void add(self, message_t *m) noexcept nogil
    cdef bint next(self) except -1
    cdef bint is_empty(self) noexcept nogil
    cdef void skip(self, int64_t job) noexcept nogil
    cdef void iterate(self, job_iter_t *it) noexcept nogil

cdef bint job_iter_next(job_iter_t *it) noexcept nogil
