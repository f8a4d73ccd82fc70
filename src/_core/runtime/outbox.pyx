"""What goes from main to each worker.

Records are collected in one frame for each worker and leave with `flush`. The outbox knows
what each worker knows already: functions, and the stop code about cache items. What jobs are
made of it asks the host of the loop (see `loop`), but for plain arguments.
"""
from bsbpool._core.scheduling.cache_refs cimport cache_t
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.scalar_codec cimport MAX_SCALARS, scalars_dump
from bsbpool._core.scheduling.status cimport status_is_terminal
from bsbpool._core.protocol.wire cimport (
    EAGER_FRAME,
    FORGET,
    FUNCTION,
    JOB,
    NEEDED,
    ONLY_ARGS,
    SCALARS,
    STEAL_REQUEST,
    SKIP,
    STOP,
    UNNEEDED,
)
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free

import array

from bsbpool._core.comm.channel import TransportError
from bsbpool._core.scheduling.status import Status


cdef class Outbox:
    """The frames to the workers of one pool.

    Parameters
    ----------
    engine : Engine
        The pool's tables, with its workers opened.
    channel : Channel
        The communicator's messages.
    run id : int
        The pool's run id on that channel.
    host : object
        The host of the loop.
    jobs : Submitter or None
        The pool, for what passes by the host.

    Attributes
    ----------
    direct : bool
        Whether plain arguments pass by the host.
    failed : bool
        Set when a job could not be sent.
    """

    def __init__(
        self, Engine engine not None, Channel channel not None, uint32_t run_id, host, Submitter jobs
    ):
        cdef int n = engine.d.workers.n
        cdef int i
        self.engine = engine
        self.channel = channel
        self.run_id = run_id
        self.host = host
        self.jobs = jobs
        self.direct = jobs is not None
        self.last_f = None
        self.last_function = self.prelude = -1
        self.writers = [FrameWriter() for _ in range(n)]
        self.sent_functions = [set() for _ in range(n)]
        self.touched = set()
        self.told = 0
        if self.peers != NULL or n == 0:
            raise ValueError("engine: it needs workers, and a loop of its own")
        self.peers = <peer_t *>calloc(n, sizeof(peer_t))
        if self.peers == NULL:
            raise MemoryError()
        for i in range(n):
            self.peers[i].function = -1

    def __dealloc__(self):
        free(self.peers)

    cdef FrameWriter writer(self, int worker):
        """The frame that the next message to a worker is collected in."""
        cdef FrameWriter writer = <FrameWriter>self.writers[worker]
        if writer.frame.n_records == 0:
            self.touched.add(worker)
        return writer

    cdef int send(self, int worker, int64_t job) except -1:
        cdef FrameWriter writer
        if self.is_cancelled(job):
            return 0
        writer = self.writer(worker)
        if not (self.direct and self.send_scalars(writer, worker, self.jobs._job_queue[job])):
            self.send_parcel(writer, worker, job)
        if writer.frame.size >= EAGER_FRAME:
            self.flush(worker)
        return 0

    cdef bint is_cancelled(self, int64_t job) except -1:
        """Whether somebody cancelled a job since it was assigned; then it is not sent."""
        if not status_is_terminal(self.engine.d.jobs[job].status):
            return False
        self.engine.undo_send(job, Status.CANCELLED)
        return True

    cdef bint send_scalars(self, FrameWriter writer, int worker, Handle job) except -1:
        """Send a job without asking the host; False when it is not for that."""
        cdef uint8_t[MAX_SCALARS] payload
        cdef int size
        if not job.calls_function or job.keywords is not None:
            return False
        size = scalars_dump(job.arguments, payload)
        if size == 0:
            return False
        if job.f is not self.last_f and not self.call_number(job.f):
            return False
        self.know(worker, <uint32_t>self.last_function)
        self.tell_cache(worker)
        if writer.put_scalars(
            JOB, job.number, <uint32_t>self.last_function, SCALARS | ONLY_ARGS, 0, payload, size
        ) < 0:
            raise MemoryError()
        return True

    cdef int call_number(self, object f) except -1:
        """Find the number of a function; 0 when it has none that lasts."""
        cdef int64_t number = self.host.number_of(f)
        if number < 0:
            return 0
        self.drop_evicted()
        self.last_f = f
        self.last_function = number
        return 1

    cdef int send_parcel(self, FrameWriter writer, int worker, int64_t job) except -1:
        parcel = self.host.encode(job)
        self.drop_evicted()
        if parcel is None:
            self.failed = True
            self.engine.undo_send(job, Status.FAILED)
            return 0
        function, flags, payload, buffers = parcel
        self.know(worker, function)
        # To pickle it may have taken long. The worker would not hear of what it needs.
        if self.is_cancelled(job):
            return 0
        self.tell_cache(worker)
        writer.put(JOB, job, function, flags, 0, payload, buffers)
        return 0

    cdef int know(self, int worker, uint32_t function) except -1:
        """See to it that a worker knows a function."""
        if self.peers[worker].function == function:
            return 0
        if self.prelude >= 0:
            self.introduce(worker, <uint32_t>self.prelude)
        self.introduce(worker, function)
        self.peers[worker].function = function
        return 0

    cdef int introduce(self, int worker, uint32_t function) except -1:
        """Send a function that a worker does not know, after the records that it requires."""
        cdef set known = <set>self.sent_functions[worker]
        if function in known:
            return 0
        for required in self.host.required(function):
            if required not in known:
                self.teach(worker, required)
        self.teach(worker, function)
        return 0

    cdef int teach(self, int worker, uint32_t function) except -1:
        """Send a function to a worker that does not know it."""
        flags, payload, buffers = self.host.function(function)
        self.writer(worker).put(FUNCTION, 0, function, flags, 0, payload, buffers)
        (<set>self.sent_functions[worker]).add(function)
        return 0

    cdef int drop_evicted(self) except -1:
        for function in self.host.evicted():
            self.forget(function)
        return 0

    cdef int forget(self, uint32_t function) except -1:
        """Let the workers that know a function drop it, after the jobs sent so far."""
        cdef int worker
        if self.last_function == function:
            self.last_f = None
            self.last_function = -1
        for worker in range(len(self.writers)):
            if self.peers[worker].function == function:
                self.peers[worker].function = -1
            if function in <set>self.sent_functions[worker]:
                (<set>self.sent_functions[worker]).discard(function)
                self.writer(worker).put(FORGET, 0, function, 0, 0, None, ())
        return 0

    cdef int tell_cache(self, int worker) except -1:
        """Tell a worker which cache items became needed or unneeded."""
        cdef cache_t *c = &self.engine.d.cache
        cdef int64_t seen = self.engine.d.workers.slots[worker].cache_seen
        cdef int32_t item
        if seen == c.changed.size:
            return 0
        needed = array.array("Q")
        unneeded = array.array("Q")
        # The present count decides: what was dropped and taken up again since
        # the worker heard of it last is still needed.
        while seen < c.changed.size:
            item = c.changed.data[seen]
            (needed if c.items[item].ref_count else unneeded).append(c.items[item].token)
            seen += 1
        self.engine.d.workers.slots[worker].cache_seen = seen
        for kind, tokens in ((NEEDED, needed), (UNNEEDED, unneeded)):
            if tokens:
                self.writer(worker).put(kind, 0, 0, 0, 0, tokens.tobytes(), ())
        return 0

    cdef int lose(self, int worker) except -1:
        """Forget what was to be sent to a worker, which has died."""
        self.writers[worker] = FrameWriter()
        self.sent_functions[worker] = set()
        self.touched.discard(worker)
        return 0

    cdef int flush(self, int worker) except -1:
        cdef FrameWriter writer = <FrameWriter>self.writers[worker]
        if writer.frame.n_records:
            self.peers[worker].heard = self.channel.now()
            self.channel.post(writer.seal(worker + 1, self.run_id))
        return 0

    cdef int flush_all(self) except -1:
        """Tell all workers about cache items, and send what was collected for them."""
        cdef int worker
        if self.told != self.engine.d.cache.changed.size:
            self.told = self.engine.d.cache.changed.size
            for worker in range(self.engine.d.workers.n):
                self.tell_cache(worker)
        if self.touched:
            for worker in self.touched:
                self.flush(worker)
            self.touched.clear()
        return 0

    cdef int skip(self, int worker, int64_t job) except -1:
        """Let a worker drop a job that it has not begun."""
        if self.writer(worker).put_scalars(SKIP, job, 0, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0

    cdef int request_steal(self, int worker) except -1:
        """Ask a worker for the jobs that it has not begun."""
        self.peers[worker].steal_pending = True
        if self.writer(worker).put_scalars(STEAL_REQUEST, 0, 0, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0

    cdef int stop(self, bint aborted, int64_t stop_code) except -1:
        """Tell all workers that the run is over, and a stop code that only their host understands."""
        cdef int worker
        cdef FrameWriter writer
        for worker in range(len(self.writers)):
            writer = FrameWriter()  # what was not sent yet is not sent any more
            writer.put(STOP, stop_code, 0, aborted, 0, None, ())
            try:
                self.channel.post(writer.seal(worker + 1, self.run_id))
            except TransportError:
                continue  # nobody is there to be told
        self.channel.release_sent()
        return 0
