from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.runtime.cache_notices cimport CacheNotices
from bsbpool._core.runtime.data_directory cimport DataDirectory
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.sent_functions cimport SentFunctions
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    STEAL_INTERVAL_NS = 1_000_000  # how long a worker is silent before jobs are taken from it

cdef class JobSender:
    cdef Engine engine
    cdef Outbox outbox
    cdef object callbacks
    cdef Submitter jobs
    cdef SentFunctions functions
    cdef CacheNotices cache_notices
    cdef DataDirectory data
    cdef bint direct
    cdef object named  # the last function of a partial that is sent by name
    cdef int64_t next_steal  # when jobs may be taken from workers again
    cdef bint encoding_failed  # whether a job has become FAILED since this was reset

    cdef int send(self, int worker, int64_t job) except -1
    cdef uint8_t keep_flags(self, int64_t job) noexcept nogil
    cdef uint64_t hold_of(self, int64_t job) noexcept nogil
    cdef bint is_cancelled(self, int64_t job) except -1
    cdef bint send_scalars(self, FrameWriter writer, int worker, Handle job) except -1
    cdef bint send_partial(self, FrameWriter writer, int worker, Handle job) except -1
    cdef int put_scalars(
        self, FrameWriter writer, int worker, Handle job, uint8_t flags, const uint8_t *payload,
        int size,
    ) except -1
    cdef int note_sent(self, int64_t job, uint64_t size) except -1
    cdef int send_encoded(self, FrameWriter writer, int worker, int64_t job) except -1
    cdef int request_steals(self, int64_t now) except -1
    cdef int flush_all(self) except -1
    cdef int discard_worker(self, int worker) except -1
