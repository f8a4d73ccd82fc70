"""The main rank's loop: poll -> dispatcher -> send.

The loop owns no policy. What may run is the engine's to say; what a job is made
of, and who wants to know about it, the *host*'s. The host is asked in batches,
with the GIL; polling and waiting go without it. The host's methods:

``encode(job) -> (function, flags, payload, buffers) or None``
    What to send for a job; None when it cannot be sent, and the host has
    already kept the error.
``function(number) -> (flags, payload, buffers)``
    What to send for a function, once for each worker.
``evicted() -> list of int``
    Functions that no worker needs to keep.
``store(job, flags, payload, buffers, seconds)``
    A reply, before the job's status changes.
``turn() -> bool``
    Deliver what happened; True ends the loop.
``deadline() -> float``
    Seconds until `turn` must be called again though nothing happens.
``left(rank, reason)``
    A rank stopped serving though the run is not over.

Where the loop is given the pool's jobs, it keeps results itself, plain arguments pass by
the host (see `plain`), and `turn` is called only when there is something to tell. The host then
also has:

``number_of(function) -> int``
    The number of a function that workers keep; -1 for others.
``ended(job, seconds)``
    A job has ended; only while not `direct`.
"""
from bsbpool._core.cache cimport cache_t
from bsbpool._core.channel cimport Channel
from bsbpool._core.dispatcher cimport (
    SEND,
    action_t,
    dispatcher_done,
    dispatcher_return,
    dispatcher_t,
)
from bsbpool._core.engine cimport Engine
from bsbpool._core.frames cimport FrameReader, FrameWriter
from bsbpool._core.handle cimport Handle, Packed
from bsbpool._core.intake cimport Intake
from bsbpool._core.pause cimport now_ns, pause_slack
from bsbpool._core.plain cimport PLAIN_MOST, plain_dump, plain_load
from bsbpool._core.status cimport CANCELLED, FAILED, RUNNING, SUCCESS, status_is_terminal
from bsbpool._core.transport cimport message_free, message_t
from bsbpool._core.wire cimport (
    DONE,
    EAGER_FRAME,
    FORGET,
    FUNCTION,
    JOB,
    LEAVE,
    NEEDED,
    NO_RESULT,
    ONLY_ARGS,
    OUTCOME_BITS,
    PLAIN,
    RECALL,
    RETURNED,
    SKIP,
    STOP,
    UNNEEDED,
)
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free

import array

from bsbpool._core.channel import TransportError
from bsbpool._core.frames import MalformedFrameError
from bsbpool._core.status import Status

cdef enum:
    MESSAGES_A_ROUND = 64
    NS_A_KIB = 1_000  # what sending a KiB counts for
    SIGNALS_NS = 20_000_000  # how long Ctrl-C may wait while nothing happens
    RECALL_NS = 1_000_000  # silence after which a worker is asked for what it has not begun

# Two bits of a reply. The fourth value means nothing.
cdef uint8_t[4] OUTCOMES = [FAILED, SUCCESS, CANCELLED, RUNNING]

cdef class MainLoop:
    """Runs one pool's jobs on the other ranks.

    Worker number w is rank w + 1.

    Parameters
    ----------
    engine : Engine
        The pool's tables, with its workers opened.
    channel : Channel
        The communicator's messages.
    epoch : int
        The pool's epoch on that channel.
    host : object
        See the module's text.
    jobs : Intake, optional
        The pool, for what passes by the host.

    Attributes
    ----------
    direct : bool
        Whether anything passes by the host.
    """

    def __init__(
        self, Engine engine not None, Channel channel not None, uint32_t epoch, host,
        Intake jobs=None,
    ):
        cdef int n = engine.d.workers.n
        cdef int i
        self.engine = engine
        self.channel = channel
        self.epoch = epoch
        self.host = host
        self.jobs = jobs
        self.direct = jobs is not None
        self.last_f = None
        self.last_function = -1
        self.writers = [FrameWriter() for _ in range(n)]
        self.known_functions = [set() for _ in range(n)]
        self.touched = set()
        self.told = 0
        self.reader = FrameReader()
        self.arrived = NULL
        self.news = True
        self.turned = self.next_recall = 0
        if self.peers != NULL or n == 0:
            raise ValueError("engine: it needs workers, and a loop of its own")
        self.peers = <peer_t *>calloc(n, sizeof(peer_t))
        if self.peers == NULL:
            raise MemoryError()
        for i in range(n):
            self.peers[i].function = -1

    def __dealloc__(self):
        free(self.peers)
        if self.arrived != NULL:
            message_free(self.arrived)

    def run(self):
        """Run until the host's `turn` says that it is over."""
        cdef int slack
        cdef int busy
        self.channel.occupy()
        slack = pause_slack(1)
        try:
            while True:
                busy = self.receive()
                busy += self.dispatch()
                self.channel.reap()
                if self.over():
                    return
                if not busy:
                    self.wait()
        finally:
            self.channel.vacate()
            pause_slack(<unsigned long>slack)

    cdef bint over(self) except -1:
        """Let the host tell what happened, when something did; True at the end of the run."""
        cdef dispatcher_t *d = &self.engine.d
        cdef int64_t now
        if not (
            self.news
            or not self.direct
            or d.n_changes
            or d.watch_all
            or d.unfinished == 0
            or (d.workers.in_flight == 0 and d.ready.count == 0)
            or self.engine.told_unneeded != d.cache.changed.size
        ):
            now = now_ns()
            if now - self.turned < SIGNALS_NS:
                return False
            self.turned = now
        self.news = False
        return self.host.turn()

    def stop(self, bint aborted):
        """Tell all workers that the run is over."""
        cdef int worker
        cdef FrameWriter writer
        for worker in range(len(self.writers)):
            writer = FrameWriter()  # what was not sent yet is not sent any more
            writer.put(STOP, 0, 0, aborted, 0, None, ())
            try:
                self.channel.post(writer.seal(worker + 1, self.epoch))
            except TransportError:
                continue  # nobody is there to be told
        self.channel.reap()

    # Coming in

    cdef int receive(self) except -1:
        """Read what has arrived; return how many messages that were."""
        cdef int n = 0
        cdef message_t *m
        if self.arrived == NULL:
            self.arrived = self.channel.poll(self.epoch)
        while self.arrived != NULL:
            m = self.arrived
            self.arrived = NULL  # first of all: the reader owns it, even when it raises
            self.reader.open(m)
            self.read()
            n += 1
            if n < MESSAGES_A_ROUND:
                self.arrived = self.channel.poll(self.epoch)
        self.channel.check()
        return n

    cdef int read(self) except -1:
        cdef FrameReader r = self.reader
        cdef int worker = r.message.peer - 1
        if not 0 <= worker < self.engine.d.workers.n:
            raise MalformedFrameError(f"rank {worker + 1} is no worker of this pool")
        self.peers[worker].heard = now_ns()
        self.peers[worker].recalled = False
        while r.next():
            if r.record.kind == DONE:
                self.done(worker)
            elif r.record.kind == RETURNED:
                self.engine.known(r.record.id)
                self.engine.lock()
                dispatcher_return(&self.engine.d, worker, <int32_t>r.record.id)
                self.engine.unlock()
                self.engine.raise_fault()
            elif r.record.kind == LEAVE:
                self.host.left(worker + 1, r.payload())
        return 0

    cdef int done(self, int worker) except -1:
        """A job has ended: keep what came of it, then change its status."""
        cdef FrameReader r = self.reader
        cdef uint8_t outcome = OUTCOMES[r.record.flags & OUTCOME_BITS]
        cdef int code
        self.engine.known(r.record.id)
        if outcome == RUNNING:
            raise MalformedFrameError(f"job {r.record.id} ended in a way that is not known")
        if outcome == SUCCESS and self.jobs is not None:
            self.store()
        else:
            self.host.store(
                r.record.id, r.record.flags & 0x7F, r.payload(), r.buffers(),
                r.record.extra * 1e-9,
            )
            self.news = True
        if self.jobs is not None and not self.direct:
            self.host.ended(r.record.id, r.record.extra * 1e-9)
        self.engine.lock()
        # Large arguments count as long jobs, so that few of them wait at a worker.
        code = dispatcher_done(
            &self.engine.d, worker, <int32_t>r.record.id, outcome,
            <double>r.record.extra + <double>r.record.aux * NS_A_KIB,
        )
        self.engine.unlock()
        if code < 0:
            self.engine.raise_fault()
        return 0

    cdef int store(self) except -1:
        """Keep a result; it is unpickled here only when that is quick."""
        cdef FrameReader r = self.reader
        cdef Handle job = self.jobs._job_queue[r.record.id]
        if r.record.flags & NO_RESULT:
            job._outcome = None
        elif r.record.flags & PLAIN:
            job._outcome = plain_load(r.inline_payload, <Py_ssize_t>r.record.size)
        else:
            job._outcome = Packed(r.payload(), r.buffers())
        return 0

    # Going out

    cdef int dispatch(self) except -1:
        """Carry out the engine's actions; return how many."""
        cdef action_t *actions
        cdef int64_t n = self.engine.take_actions(&actions)
        cdef int64_t i
        cdef int worker
        try:
            for i in range(n):
                self.act(&actions[i])
        finally:
            free(actions)
        if self.told != self.engine.d.cache.changed.size:
            self.told = self.engine.d.cache.changed.size
            for worker in range(self.engine.d.workers.n):
                self.tell_cache(worker)
        if self.touched:
            for worker in self.touched:
                self.flush(worker)
            self.touched.clear()
        return <int>n

    cdef int act(self, action_t *action) except -1:
        cdef FrameWriter writer
        if action.kind == SEND:
            return self.send(action.worker, action.job)
        writer = self.writer(action.worker)
        if writer.put_plain(SKIP, action.job, 0, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0

    cdef FrameWriter writer(self, int worker):
        """The frame that the next message to a worker is collected in."""
        cdef FrameWriter writer = <FrameWriter>self.writers[worker]
        if writer.frame.n_records == 0:
            self.touched.add(worker)
        return writer

    cdef int send(self, int worker, int64_t job) except -1:
        cdef FrameWriter writer
        # Somebody may have cancelled it since it was assigned.
        if status_is_terminal(self.engine.d.jobs[job].status):
            self.engine.unsend(job, Status.CANCELLED)
            return 0
        writer = self.writer(worker)
        if not (self.direct and self.send_plain(writer, worker, self.jobs._job_queue[job])):
            self.send_parcel(writer, worker, job)
        if writer.frame.size >= EAGER_FRAME:
            self.flush(worker)
        return 0

    cdef bint send_plain(self, FrameWriter writer, int worker, Handle job) except -1:
        """Send a job without asking the host; False when it is not for that."""
        cdef uint8_t[PLAIN_MOST] payload
        cdef int size
        if not job.calls or job.keywords is not None:
            return False
        size = plain_dump(job.arguments, payload)
        if size == 0:
            return False
        if job.f is not self.last_f and not self.call_number(job.f):
            return False
        self.know(worker, <uint32_t>self.last_function)
        self.tell_cache(worker)
        if writer.put_plain(
            JOB, job.number, <uint32_t>self.last_function, PLAIN | ONLY_ARGS, 0, payload, size
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
            self.news = True
            self.engine.unsend(job, Status.FAILED)
            return 0
        function, flags, payload, buffers = parcel
        self.know(worker, function)
        self.tell_cache(worker)
        writer.put(JOB, job, function, flags, 0, payload, buffers)
        return 0

    cdef int know(self, int worker, uint32_t function) except -1:
        """See to it that a worker knows a function."""
        cdef set known
        if self.peers[worker].function == function:
            return 0
        known = <set>self.known_functions[worker]
        if function not in known:
            flags, payload, buffers = self.host.function(function)
            self.writer(worker).put(FUNCTION, 0, function, flags, 0, payload, buffers)
            known.add(function)
        self.peers[worker].function = function
        return 0

    cdef int drop_evicted(self) except -1:
        for function in self.host.evicted():
            self.forget(function)
        return 0

    def forget(self, uint32_t function):
        """Let the workers that know a function drop it, after the jobs sent so far."""
        cdef int worker
        if self.last_function == function:
            self.last_f = None
            self.last_function = -1
        for worker in range(len(self.writers)):
            if self.peers[worker].function == function:
                self.peers[worker].function = -1
            if function in <set>self.known_functions[worker]:
                (<set>self.known_functions[worker]).discard(function)
                self.writer(worker).put(FORGET, 0, function, 0, 0, None, ())

    cdef int tell_cache(self, int worker) except -1:
        """Tell a worker which cache items became needed or unneeded."""
        cdef cache_t *c = &self.engine.d.cache
        cdef int64_t seen = self.engine.d.workers.slots[worker].seen
        cdef int32_t item
        if seen == c.changed.size:
            return 0
        needed = array.array("Q")
        unneeded = array.array("Q")
        # The present count decides: what was dropped and taken up again since
        # the worker heard of it last is still needed.
        while seen < c.changed.size:
            item = c.changed.data[seen]
            (needed if c.items[item].needed_by else unneeded).append(c.items[item].token)
            seen += 1
        self.engine.d.workers.slots[worker].seen = seen
        for kind, tokens in ((NEEDED, needed), (UNNEEDED, unneeded)):
            if tokens:
                self.writer(worker).put(kind, 0, 0, 0, 0, tokens.tobytes(), ())
        return 0

    cdef int flush(self, int worker) except -1:
        cdef FrameWriter writer = <FrameWriter>self.writers[worker]
        if writer.frame.n_records:
            self.peers[worker].heard = now_ns()
            self.channel.post(writer.seal(worker + 1, self.epoch))
        return 0

    # Waiting

    cdef bint stalls(self) noexcept nogil:
        """Whether a worker has nothing to do while jobs wait behind those of others."""
        cdef dispatcher_t *d = &self.engine.d
        return (
            d.ready.count == 0
            and d.workers.idle.size > 0
            and d.workers.in_flight > d.workers.n - d.workers.idle.size
        )

    cdef int recall(self) except -1:
        """Ask workers that have been silent for the jobs that they have not begun."""
        cdef int64_t now = now_ns()
        cdef int worker
        if now < self.next_recall:
            return 0
        self.next_recall = now + RECALL_NS
        for worker in range(self.engine.d.workers.n):
            if (
                self.engine.d.workers.slots[worker].in_flight > 1
                and not self.peers[worker].recalled
                and now - self.peers[worker].heard >= RECALL_NS
            ):
                self.peers[worker].recalled = True
                if self.writer(worker).put_plain(RECALL, 0, 0, 0, 0, NULL, 0) < 0:
                    raise MemoryError()
                self.flush(worker)
        self.touched.clear()
        return 0

    cdef int wait(self) except -1:
        """Wait for a message, a poke or the host's deadline, but never deaf to signals."""
        cdef double seconds = self.host.deadline()
        cdef int64_t now = now_ns()
        cdef int64_t until = now + SIGNALS_NS
        if seconds * 1e9 < SIGNALS_NS:
            until = now + <int64_t>(seconds * 1e9)
        if self.stalls():
            self.recall()
            until = min(until, now + RECALL_NS)
        with nogil:
            self.arrived = self.channel.wait(self.epoch, until)
        if self.arrived == NULL:
            self.news = True  # perhaps somebody poked
        PyErr_CheckSignals()
        return 0
