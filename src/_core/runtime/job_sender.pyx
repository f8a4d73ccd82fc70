"""Sending jobs to workers."""
from bsbpool._core.bits cimport NO_BIT, bits_next, bits_remove
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.input_items cimport resolved_arguments
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.jobs.times cimport times_sent
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.scalar_codec cimport MAX_SCALARS, scalars_dump, scalars_dump_call
from bsbpool._core.protocol.wire cimport EAGER_FRAME, JOB, ONLY_ARGS, SCALARS
from bsbpool._core.runtime.cache_notices cimport CacheNotices
from bsbpool._core.runtime.data_directory cimport DataDirectory
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.sent_functions cimport SentFunctions
from bsbpool._core.scheduling.data_items cimport DATA_FLAGS
from bsbpool._core.scheduling.dispatcher_tables cimport SPECIAL
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport status_is_terminal
from bsbpool._core.scheduling.workers cimport workers_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from functools import partial

from bsbpool._core.scheduling.status import Status

cdef extern from *:
    """
    #define type_of(o) ((PyObject *)Py_TYPE(o))
    """
    void *type_of(object) noexcept

cdef object PARTIAL = partial


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
        self.data = DataDirectory(engine, outbox, callbacks)
        self.direct = jobs is not None

    cdef int send(self, int worker, int64_t job) except -1:
        """Add a job to the next message of a worker, and send the message once it is large."""
        cdef FrameWriter writer
        if self.is_cancelled(job):
            return 0
        writer = self.outbox.writer(worker)
        if not (self.direct and self.send_scalars(writer, worker, self.jobs.job_list[job])):
            self.send_encoded(writer, worker, job)
        if not self.outbox.workers[worker].is_busy:
            self.outbox.begin_busy(worker, &self.engine.d.workers.slots[worker])
        if writer.frame.size >= EAGER_FRAME:
            self.outbox.flush(worker)
        return 0

    cdef int note_sent(self, int64_t job, uint64_t size) except -1:
        """Note the size of the arguments of a job."""
        if self.jobs is not None and self.jobs.times != NULL:
            if times_sent(self.jobs.times, job, size) < 0:
                raise MemoryError()
        return 0

    cdef uint8_t keep_flags(self, int64_t job) noexcept nogil:
        """Return the flags KEEP and KEEP_ONLY of a job: those of its job one bit higher."""
        return <uint8_t>((self.engine.d.jobs[job].flags & DATA_FLAGS) << 1)

    cdef uint64_t hold_of(self, int64_t job) noexcept nogil:
        """Return for how many ns the reply of a job may be held back.

        Not those of special jobs: other jobs may wait for their resources.
        """
        if self.engine.d.jobs[job].flags & SPECIAL:
            return 0
        return <uint64_t>self.engine.d.workers.hold_ns

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
        cdef uint8_t flags = SCALARS | ONLY_ARGS
        if not job.calls_function:
            return False
        if job.f is not self.functions.last_f and type_of(job.f) == <void *>PARTIAL:
            return self.send_partial(writer, worker, job)
        args = resolved_arguments(job) if job.has_inputs else job.arguments
        if args is None:
            return False
        if job.keywords is None:
            size = scalars_dump(args, payload)
        else:
            size = scalars_dump_call(args, job.keywords, 0, payload)
            flags = SCALARS
        if size == 0:
            return False
        if job.f is not self.functions.last_f and not self.functions.find(job.f):
            return False
        self.put_scalars(writer, worker, job, flags, payload, size)
        return True

    cdef bint send_partial(self, FrameWriter writer, int worker, Handle job) except -1:
        """Send a call of a `functools.partial` as one of its function, which workers keep.

        The owner of the pool is the first argument after those of the partial. Functions that are
        sent by value have globals and default values that are sent again with each partial.
        """
        cdef uint8_t[MAX_SCALARS] payload
        cdef object f = job.f.func
        cdef tuple first = job.f.args
        cdef dict keywords = job.f.keywords
        cdef int size
        if f is not self.named:
            if not self.callbacks.is_named(f):
                return False
            self.named = f
        if job.keywords is not None:
            keywords = {**keywords, **job.keywords}
        size = scalars_dump_call(first + <tuple>job.arguments, keywords, len(first), payload)
        if size == 0:
            return False
        if f is not self.functions.last_f and not self.functions.find(f):
            return False
        self.put_scalars(writer, worker, job, SCALARS, payload, size)
        return True

    cdef int put_scalars(
        self, FrameWriter writer, int worker, Handle job, uint8_t flags, const uint8_t *payload,
        int size,
    ) except -1:
        """Add a job of the function that was looked up last."""
        self.functions.ensure(worker, <uint32_t>self.functions.last_number)
        self.cache_notices.put(worker)
        if writer.put_scalars(
            JOB, job.number, <uint32_t>self.functions.last_number,
            flags | self.keep_flags(job.number), self.hold_of(job.number), payload, size,
        ) < 0:
            raise MemoryError()
        return self.note_sent(job.number, <uint64_t>size)

    cdef int send_encoded(self, FrameWriter writer, int worker, int64_t job) except -1:
        """Send a job that `encode_job` pickles."""
        encoded = self.callbacks.encode_job(job, worker)
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
        writer.put(
            JOB, job, function, flags | self.keep_flags(job), self.hold_of(job), payload, buffers
        )
        if self.jobs is not None and self.jobs.times != NULL:
            self.note_sent(job, len(payload) + sum([buffer.nbytes for buffer in buffers]))
        return 0

    cdef int request_steals(self, int64_t now) except -1:
        """Ask workers that have been silent for the jobs that they have not begun."""
        cdef workers_t *workers = &self.engine.d.workers
        cdef bint any_idle = workers.idle.size > 0
        cdef int worker = <int>bits_next(&workers.deep, 0)
        if now < self.next_steal:
            return 0
        self.next_steal = now + STEAL_INTERVAL_NS
        while worker != NO_BIT:
            if workers.slots[worker].in_flight <= 1:
                bits_remove(&workers.deep, worker)
            elif (
                (any_idle or workers.slots[worker].reserved)
                and not self.outbox.workers[worker].steal_pending
                and now - self.outbox.workers[worker].last_contact >= STEAL_INTERVAL_NS
            ):
                self.outbox.put_steal_request(worker)
            worker = <int>bits_next(&workers.deep, worker + 1)
        return self.flush_all()

    cdef int flush_all(self) except -1:
        """Send all messages, with the notices about cache items."""
        self.cache_notices.put_all()
        if self.engine.d.cache.unused.size:
            self.data.free_unused()
        return self.outbox.flush_all()

    cdef int discard_worker(self, int worker) except -1:
        """Forget a worker, which has failed."""
        self.outbox.discard_pending(worker)
        self.data.discard_worker(worker)
        self.functions.discard_worker(worker)
        return 0
