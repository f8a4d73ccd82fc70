"""The main rank's loop: poll -> dispatcher -> send.

The loop owns no policy. What may run is the engine's to say; what a job is made
of, and who wants to know about it, the *host*'s. The host is asked in batches,
with the GIL; polling and waiting go without it. The host's methods:

``encode(job) -> (function, flags, payload, buffers) or None``
    What to send for a job; None when it cannot be sent, and the host has
    already kept the error.
``function(number) -> (flags, payload, buffers)``
    What to send for a function, once for each worker.
``required(function) -> iterable of int``
    The numbers that a worker must know before this one.
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
``lost(rank, jobs)``
    A rank has died; `jobs` are those that it had begun, and are about to be ABORTED.

Where the loop is given the pool's jobs, it keeps results itself, plain arguments pass by
the host (see `plain`), and `turn` is called only when there is something to tell. The host then
also has:

``number_of(function) -> int``
    The number of a function that workers keep; -1 for others.
``ended(job, seconds)``
    A job has ended; only while not `direct`.
``unreadable(job, error)``
    Called before a job becomes FAILED because its result cannot be unpickled here; only
    where the loop `checks` or `unpickles` results.
"""
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.scheduling.dispatcher cimport SEND, action_t, dispatcher_t
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.jobs.handle cimport Handle, PickledResult
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.scheduling.worker_queues cimport queues_done, queues_stolen
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.comm.backoff cimport SIGNALS_NS, pause_slack
from bsbpool._core.protocol.scalar_codec cimport scalars_load
from bsbpool._core.scheduling.status cimport CANCELLED, FAILED, RUNNING, SUCCESS
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.wire cimport DONE, LEAVE, RANK_FAILED, NO_RESULT, OUTCOME_BITS, SCALARS, STEAL_RESPONSE
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free

import pickle

from bsbpool._core.protocol.frames import MalformedFrameError

cdef enum:
    SMALL_RESULT = 128  # bytes; a larger one may have to leave memory
    MOST_CHECKED = 4096  # bytes of pickle; unpickling a larger one takes too long
    MESSAGES_A_ROUND = 64
    NS_A_KIB = 1_000  # what sending a KiB counts for
    STEAL_INTERVAL_NS = 1_000_000  # silence after which a worker is asked for what it has not begun

# Two bits of a reply. The fourth value means nothing.
cdef uint8_t[4] OUTCOMES = [FAILED, SUCCESS, CANCELLED, RUNNING]

cdef int wake_channel(object channel) except -1:
    (<Channel> channel).wake_nogil()
    return 0


cdef class MainLoop:
    """Runs one pool's jobs on the other ranks.

    Worker number w is rank w + 1.

    Parameters
    ----------
    engine : Engine
        The pool's tables, with its workers opened.
    channel : Channel
        The communicator's messages.
    run id : int
        The pool's run id on that channel.
    host : object
        See the module's text.
    jobs : Submitter, optional
        The pool, for what passes by the host.

    Attributes
    ----------
    direct : bool
        Whether anything passes by the host.
    checks : bool
        Whether small results are unpickled once on arrival, so that a job fails before its
        dependents run when its result cannot be read here. The pickle is kept all the same.
    unpickles : bool
        Whether results are kept unpickled. Each must be read at most once then.
    """

    def __init__(
        self, Engine engine not None, Channel channel not None, uint32_t run_id, host,
        Submitter jobs=None,
    ):
        self.engine = engine
        self.channel = channel
        self.run_id = run_id
        self.host = host
        self.jobs = jobs
        if jobs is not None:
            jobs.notify_of_jobs(wake_channel, channel)  # new jobs wake the loop
        self.out = Outbox(engine, channel, run_id, host, jobs)
        self.reader = FrameReader()
        self.arrived = NULL
        self.news = True
        self.turned = self.next_steal = 0

    def __dealloc__(self):
        if self.arrived != NULL:
            message_free(self.arrived)

    @property
    def direct(self):
        return self.out.direct

    @direct.setter
    def direct(self, bint value):
        self.out.direct = value and self.jobs is not None

    def run(self):
        """Run until the host's `turn` says that it is over."""
        cdef int slack
        cdef int busy
        cdef int worker
        self.channel.acquire()
        slack = pause_slack(1)
        missing = self.channel.membership.lost | self.channel.membership.away  # by pools before this one
        for worker in range(self.engine.d.workers.n):
            self.engine.set_available(worker, worker + 1 not in missing)
        try:
            while True:
                busy = self.receive()
                busy += self.dispatch()
                self.channel.release_sent()
                if self.over():
                    return
                if not busy:
                    self.wait()
        finally:
            self.channel.release()
            pause_slack(<unsigned long>slack)

    cdef bint over(self) except -1:
        """Let the host tell what happened, when something did; True at the end of the run."""
        cdef dispatcher_t *d = &self.engine.d
        cdef int64_t now
        if not (
            self.news
            or not self.out.direct
            or d.n_changes
            or d.track_all
            or d.unfinished == 0
            or (d.workers.in_flight == 0 and d.ready.count == 0)
            or self.engine.unneeded_read != d.cache.changed.size
        ):
            now = self.channel.now()
            if now - self.turned < SIGNALS_NS:
                return False
            self.turned = now
        self.news = False
        return self.host.turn()

    def begin_with(self, uint32_t function):
        """Have each worker load this function before it learns any other."""
        self.out.prelude = function

    def stop(self, bint aborted, int64_t stop_code=0):
        """Tell all workers that the run is over; the stop code is for their host."""
        self.out.stop(aborted, stop_code)

    # Coming in

    cdef int receive(self) except -1:
        """Read what has arrived; return how many messages that were."""
        cdef int n = 0
        cdef message_t *m
        if self.arrived == NULL:
            self.arrived = self.channel.poll(self.run_id)
        while self.arrived != NULL:
            m = self.arrived
            self.arrived = NULL  # first of all: the reader owns it, even when it raises
            self.reader.open(m)
            self.read()
            n += 1
            if n < MESSAGES_A_ROUND:
                self.arrived = self.channel.poll(self.run_id)
        self.channel.check()
        self.poll_failures()
        return n

    cdef int poll_failures(self) except -1:
        """Notice who is gone, and who is back."""
        cdef int peer
        self.channel.handle_shutdowns()
        peer = self.channel.next_lost()
        while peer >= 0:
            self.lose(peer)
            peer = self.channel.next_lost()
        peer = self.channel.membership.next_return()
        while peer >= 0:
            self.engine.set_available(peer - 1, True)
            peer = self.channel.membership.next_return()
        return 0

    cdef int lose(self, int peer) except -1:
        """A worker has died: what it had begun is ABORTED, others get the rest."""
        cdef int worker = peer - 1
        cdef int64_t begun = self.channel.begun_by(peer, self.run_id)
        self.news = True
        self.host.lost(peer, self.engine.begun_jobs(worker, begun))
        self.out.lose(worker)
        self.engine.worker_failed(worker, <int32_t>begun)
        return 0

    cdef int read(self) except -1:
        cdef FrameReader r = self.reader
        cdef int worker = r.message.peer - 1
        if not 0 <= worker < self.engine.d.workers.n:
            raise MalformedFrameError(
                f"A message came from rank {worker + 1}, which is not a worker of this pool"
            )
        self.out.peers[worker].heard = self.channel.now()
        self.out.peers[worker].steal_pending = False
        while r.next():
            if r.record.kind == DONE:
                self.done(worker)
            elif r.record.kind == STEAL_RESPONSE:
                self.engine.check_job(r.record.id)
                queues_stolen(&self.engine.d, worker, <int32_t>r.record.id)
                self.engine.raise_fault()
            elif r.record.kind == RANK_FAILED:
                if not 0 < r.record.id <= self.engine.d.workers.n:
                    raise MalformedFrameError(
                        f"A message names rank {r.record.id}, which is not a worker of this pool"
                    )
                self.channel.mark_failed(<int>r.record.id)
            elif r.record.kind == LEAVE:
                self.host.left(worker + 1, r.payload())
        return 0

    cdef int done(self, int worker) except -1:
        """A job has ended: keep what came of it, then change its status."""
        cdef FrameReader r = self.reader
        cdef uint8_t outcome = OUTCOMES[r.record.flags & OUTCOME_BITS]
        cdef int code
        self.engine.check_job(r.record.id)
        if outcome == RUNNING:
            raise MalformedFrameError(f"A message gives an unknown outcome of job {r.record.id}")
        if outcome == SUCCESS and self.jobs is not None:
            if not self.store():
                outcome = FAILED
                self.news = True
        else:
            self.host.store(
                r.record.id, r.record.flags & 0x7F, r.payload(), r.buffers(),
                r.record.extra * 1e-9,
            )
            self.news = True
        if self.jobs is not None and not self.out.direct:
            self.host.ended(r.record.id, r.record.extra * 1e-9)
        # Large arguments count as long jobs, so that few of them wait at a worker.
        code = queues_done(
            &self.engine.d, worker, <int32_t>r.record.id, outcome,
            <double>r.record.extra + <double>r.record.aux * NS_A_KIB,
        )
        if code < 0:
            self.engine.raise_fault()
        return 0

    cdef bint store(self) except -1:
        """Keep a result, as a pickle unless it is plain; False when it cannot be unpickled."""
        cdef FrameReader r = self.reader
        cdef Handle job = self.jobs._job_queue[r.record.id]
        if job.number < 0:
            return True  # it was cancelled, and dropped since
        if r.record.flags & NO_RESULT:
            job._outcome = None
        elif r.record.flags & SCALARS and (
            r.record.size <= SMALL_RESULT or self.jobs._store is None
        ):
            job._outcome = scalars_load(r.inline_payload, <Py_ssize_t>r.record.size)
        else:
            return self.store_pickle(job, r.payload(), r.buffers())
        return True

    cdef bint store_pickle(self, Handle job, payload, list buffers) except -1:
        # A copy that is unpickled for the check may write into the buffers, and without the
        # opcode STACK_GLOBAL there is no class or function that could be missing or raise.
        if self.unpickles or (
            self.checks and not buffers and len(payload) <= MOST_CHECKED and b"\x93" in payload
        ):
            try:
                value = pickle.loads(payload, buffers=buffers)
            except BaseException as error:
                self.host.unreadable(job.number, error)
                return False
            if self.unpickles:
                job._outcome = value
                return True
        if self.jobs._store is None:
            job._outcome = PickledResult(payload, buffers)
        else:
            job._outcome = self.jobs._store.keep(payload, buffers)
        return True

    # Going out

    cdef int dispatch(self) except -1:
        """Carry out the engine's actions; return how many."""
        cdef action_t *actions
        cdef int64_t n = self.engine.detach_actions(&actions)
        cdef int64_t i
        try:
            for i in range(n):
                if actions[i].kind == SEND:
                    self.out.send(actions[i].worker, actions[i].job)
                else:
                    self.out.skip(actions[i].worker, actions[i].job)
        finally:
            free(actions)
        self.out.flush_all()
        if self.out.failed:
            self.out.failed = False
            self.news = True
        return <int>n

    # Waiting

    cdef bint stalls(self) noexcept nogil:
        """Whether a worker has nothing to do while jobs wait behind those of others."""
        cdef dispatcher_t *d = &self.engine.d
        return (
            d.ready.count == 0
            and d.workers.idle.size > 0
            and d.workers.in_flight > d.workers.n - d.workers.n_unavailable - d.workers.idle.size
        )

    cdef int request_steal(self) except -1:
        """Ask workers that have been silent for the jobs that they have not begun."""
        cdef int64_t now = self.channel.now()
        cdef int worker
        if now < self.next_steal:
            return 0
        self.next_steal = now + STEAL_INTERVAL_NS
        for worker in range(self.engine.d.workers.n):
            if (
                self.engine.d.workers.slots[worker].in_flight > 1
                and not self.out.peers[worker].steal_pending
                and now - self.out.peers[worker].heard >= STEAL_INTERVAL_NS
            ):
                self.out.request_steal(worker)
        self.out.flush_all()
        return 0

    cdef int wait(self) except -1:
        """Wait for a message, a wake or the host's deadline, but never deaf to signals."""
        cdef double seconds = self.host.deadline()
        cdef int64_t now = self.channel.now()
        cdef int64_t until = now + SIGNALS_NS
        if seconds * 1e9 < SIGNALS_NS:
            until = now + <int64_t>(seconds * 1e9)
        if self.stalls():
            self.request_steal()
            until = min(until, now + STEAL_INTERVAL_NS)
        with nogil:
            self.arrived = self.channel.wait(self.run_id, until)
        if self.arrived == NULL:
            self.news = True  # perhaps somebody woken
        PyErr_CheckSignals()
        return 0
