"""Sending jobs to workers."""
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.scalar_codec cimport MAX_SCALARS, scalars_dump
from bsbpool._core.protocol.wire cimport EAGER_FRAME, JOB, ONLY_ARGS, SCALARS
from bsbpool._core.runtime.cache_notices cimport CacheNotices
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.sent_functions cimport SentFunctions
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport status_is_terminal
from libc.stdint cimport int64_t, uint8_t, uint32_t

from bsbpool._core.scheduling.status import Status


cdef class JobSender:
    """Sends jobs, and before each job the functions and cache notices that it needs.

    Parameters
    ----------
    engine : Engine
        The pool's tables, with its workers opened.
    outbox : Outbox
        The messages to the workers.
    callbacks : LoopCallbacks
        Pickle jobs and functions.
    jobs : Submitter or None
        The pool. If given, jobs with scalar arguments are sent without a callback.
    """

    def __init__(self, Engine engine not None, Outbox outbox not None, callbacks, Submitter jobs):
        self.engine = engine
        self.outbox = outbox
        self.callbacks = callbacks
        self.jobs = jobs
        self.functions = SentFunctions(outbox, callbacks)
        self.cache_notices = CacheNotices(engine, outbox)
        self.direct = jobs is not None

    cdef int send(self, int worker, int64_t job) except -1:
        """Add a job to the next message of a worker, and send the message once it is large."""
        cdef FrameWriter writer
        if self.is_cancelled(job):
            return 0
        writer = self.outbox.writer(worker)
        if not (self.direct and self.send_scalars(writer, worker, self.jobs.job_list[job])):
            self.send_encoded(writer, worker, job)
        if writer.frame.size >= EAGER_FRAME:
            self.outbox.flush(worker)
        return 0

    cdef bint is_cancelled(self, int64_t job) except -1:
        """Whether a job was cancelled since it was assigned; it is not sent then."""
        if not status_is_terminal(self.engine.d.jobs[job].status):
            return False
        self.engine.undo_send(job, Status.CANCELLED)
        return True

    cdef bint send_scalars(self, FrameWriter writer, int worker, Handle job) except -1:
        """Send a job without `encode_job`; return False when that is not possible."""
        cdef uint8_t[MAX_SCALARS] payload
        cdef int size
        if not job.calls_function or job.keywords is not None:
            return False
        size = scalars_dump(job.arguments, payload)
        if size == 0:
            return False
        if job.f is not self.functions.last_f and not self.functions.find(job.f):
            return False
        self.functions.ensure(worker, <uint32_t>self.functions.last_number)
        self.cache_notices.put(worker)
        if writer.put_scalars(
            JOB, job.number, <uint32_t>self.functions.last_number, SCALARS | ONLY_ARGS, 0,
            payload, size,
        ) < 0:
            raise MemoryError()
        return True

    cdef int send_encoded(self, FrameWriter writer, int worker, int64_t job) except -1:
        """Send a job that `encode_job` pickles."""
        encoded = self.callbacks.encode_job(job)
        self.functions.drop_evicted()
        if encoded is None:
            self.encoding_failed = True
            self.engine.undo_send(job, Status.FAILED)
            return 0
        function, flags, payload, buffers = encoded
        self.functions.ensure(worker, function)
        # Pickling may have taken long. A job that was cancelled meanwhile must not be sent: its
        # cache items are no longer announced to the worker.
        if self.is_cancelled(job):
            return 0
        self.cache_notices.put(worker)
        writer.put(JOB, job, function, flags, 0, payload, buffers)
        return 0

    cdef int flush_all(self) except -1:
        """Send all messages, with the notices about cache items."""
        self.cache_notices.put_all()
        return self.outbox.flush_all()

    cdef int discard_worker(self, int worker) except -1:
        """Forget a worker, which has failed."""
        self.outbox.discard_pending(worker)
        self.functions.discard_worker(worker)
        return 0
