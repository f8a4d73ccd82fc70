from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.runtime.cache_notices cimport CacheNotices
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.sent_functions cimport SentFunctions
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int64_t

cdef class JobSender:
    cdef Engine engine
    cdef Outbox outbox
    cdef object callbacks
    cdef Submitter jobs
    cdef SentFunctions functions
    cdef CacheNotices cache_notices
    cdef bint direct
    cdef bint encoding_failed  # whether a job has become FAILED since this was reset

    cdef int send(self, int worker, int64_t job) except -1
    cdef bint is_cancelled(self, int64_t job) except -1
    cdef bint send_scalars(self, FrameWriter writer, int worker, Handle job) except -1
    cdef int send_encoded(self, FrameWriter writer, int worker, int64_t job) except -1
    cdef int flush_all(self) except -1
    cdef int discard_worker(self, int worker) except -1
