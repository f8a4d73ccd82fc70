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
    Once a round: deliver what happened; True ends the loop.
``deadline() -> float``
    Seconds until `turn` must be called again though nothing happens.
``left(rank, reason)``
    A rank stopped serving though the run is not over.
"""
from bsbpool._core.cache cimport cache_t
from bsbpool._core.channel cimport Channel
from bsbpool._core.dispatcher cimport SEND, action_t
from bsbpool._core.engine cimport Engine
from bsbpool._core.frames cimport FrameReader, FrameWriter
from bsbpool._core.pause cimport now_ns, pause_slack
from bsbpool._core.status cimport status_is_terminal
from bsbpool._core.transport cimport message_free, message_t
from bsbpool._core.wire cimport DONE, FORGET, FUNCTION, JOB, LEAVE, NEEDED, SKIP, STOP, UNNEEDED
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free

import array

from bsbpool._core.channel import TransportError
from bsbpool._core.status import Status

cdef enum:
    FULL_FRAME = 32 * 1024  # bytes; fuller frames would leave MPI's eager path
    MESSAGES_A_ROUND = 64
    NS_A_KIB = 1_000  # what sending a KiB counts for
    SIGNALS_NS = 20_000_000  # how long Ctrl-C may wait while nothing happens

OUTCOMES = (Status.FAILED, Status.SUCCESS, Status.CANCELLED, None)  # by two bits of a reply


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
    """

    def __init__(self, Engine engine not None, Channel channel not None, uint32_t epoch, host):
        cdef int n = engine.d.workers.n
        self.engine = engine
        self.channel = channel
        self.epoch = epoch
        self.host = host
        self.writers = [FrameWriter() for _ in range(n)]
        self.known_functions = [set() for _ in range(n)]
        self.touched = set()
        self.told = 0
        self.reader = FrameReader()
        self.arrived = NULL

    def __dealloc__(self):
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
                if self.host.turn():
                    return
                if not busy:
                    self.wait()
        finally:
            self.channel.vacate()
            pause_slack(<unsigned long>slack)

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
            with nogil:
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
        while r.next():
            if r.record.kind == DONE:
                self.host.store(
                    r.record.id, r.record.flags & 0x7F, r.payload(), r.buffers(),
                    r.record.extra * 1e-9,
                )
                # Large arguments count as long jobs, so that few of them wait at a worker.
                self.engine.done(
                    worker, r.record.id, OUTCOMES[r.record.flags & 3],
                    <double>r.record.extra + <double>r.record.aux * NS_A_KIB,
                )
            elif r.record.kind == LEAVE:
                self.host.left(worker + 1, r.payload())
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
                if actions[i].kind == SEND:
                    self.send(actions[i].worker, actions[i].job)
                else:
                    self.writer(actions[i].worker).put(SKIP, actions[i].job, 0, 0, 0, None, ())
        finally:
            free(actions)
        if self.told != self.engine.d.cache.changed.size:
            self.told = self.engine.d.cache.changed.size
            for worker in range(self.engine.d.workers.n):
                self.tell_cache(worker)
        for worker in self.touched:
            self.flush(worker)
        self.touched.clear()
        return <int>n

    cdef FrameWriter writer(self, int worker):
        """The frame that the next message to a worker is collected in."""
        self.touched.add(worker)
        return self.writers[worker]

    cdef int send(self, int worker, int64_t job) except -1:
        cdef FrameWriter writer = self.writer(worker)
        # Somebody may have cancelled it since it was assigned.
        if status_is_terminal(self.engine.d.jobs[job].status):
            self.engine.unsend(job, Status.CANCELLED)
            return 0
        parcel = self.host.encode(job)
        if parcel is None:
            self.engine.unsend(job, Status.FAILED)
            return 0
        function, flags, payload, buffers = parcel
        for old in self.host.evicted():
            self.forget(old)
        if function not in <set>self.known_functions[worker]:
            self.send_function(worker, function)
        self.tell_cache(worker)
        writer.put(JOB, job, function, flags, 0, payload, buffers)
        if writer.frame.size >= FULL_FRAME:
            self.flush(worker)
        return 0

    cdef int send_function(self, int worker, uint32_t function) except -1:
        cdef FrameWriter writer = self.writer(worker)
        flags, payload, buffers = self.host.function(function)
        writer.put(FUNCTION, 0, function, flags, 0, payload, buffers)
        (<set>self.known_functions[worker]).add(function)
        return 0

    def forget(self, uint32_t function):
        """Let the workers that know a function drop it, after the jobs sent so far."""
        cdef int worker
        for worker in range(len(self.writers)):
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
        cdef FrameWriter writer = self.writers[worker]
        if writer.frame.n_records:
            self.channel.post(writer.seal(worker + 1, self.epoch))
        return 0

    # Waiting

    cdef int wait(self) except -1:
        """Wait for a message, a poke or the host's deadline, but never deaf to signals."""
        cdef double seconds = self.host.deadline()
        cdef int64_t now = now_ns()
        cdef int64_t until = now + SIGNALS_NS
        if seconds * 1e9 < SIGNALS_NS:
            until = now + <int64_t>(seconds * 1e9)
        with nogil:
            self.arrived = self.channel.wait(self.epoch, until)
        PyErr_CheckSignals()
        return 0
