"""The main rank's loop: receive replies, let the engine decide, send jobs.

The engine decides which job runs where. Pickling, errors, listeners and limits are the work of
callbacks, see `LoopCallbacks`. They are called for many jobs at a time and with the GIL. Polling
and waiting for messages need no GIL.
"""
from bsbpool._core.comm.backoff cimport SIGNALS_NS, set_timer_slack
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.wire cimport DONE, LEAVE, RANK_FAILED, STEAL_RESPONSE
from bsbpool._core.runtime.job_sender cimport JobSender
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.reply_reader cimport ReplyReader
from bsbpool._core.scheduling.dispatcher cimport SEND_JOB, action_t, dispatcher_t
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.worker_queues cimport queues_stolen
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free

from bsbpool._core.protocol.frames import MalformedFrameError

cdef enum:
    MESSAGES_PER_ROUND = 64
    STEAL_INTERVAL_NS = 1_000_000  # how long a worker is silent before jobs are taken from it


cdef int wake_channel(object channel) except -1:
    (<Channel>channel).wake_nogil()
    return 0


cdef class MainLoop:
    """Runs one pool's jobs on the other ranks. Worker w is rank w + 1.

    Parameters
    ----------
    engine : Engine
        The pool's tables, with its workers opened.
    channel : Channel
        The messages of the communicator.
    run_id : int
        The pool's run on that channel.
    callbacks : LoopCallbacks
        Handle pickles, errors, listeners and limits.
    jobs : Submitter, optional
        The pool. If given, the loop sends jobs with scalar arguments and stores results without
        a callback.

    Attributes
    ----------
    direct : bool
        Whether jobs with scalar arguments are sent without a callback, and `process_events` is
        called only after events. Always False without `jobs`.
    check_results : bool
        Whether small results are unpickled once when they arrive, so that a job fails before its
        dependents run if its result cannot be unpickled here. The pickle is kept all the same.
    unpickle_results : bool
        Whether results are stored unpickled. Each must be read at most once then.
    """

    def __init__(
        self, Engine engine not None, Channel channel not None, uint32_t run_id, callbacks,
        Submitter jobs=None,
    ):
        if engine.d.workers.n == 0:
            raise ValueError("engine has no workers; call open_workers() first")
        self.engine = engine
        self.channel = channel
        self.callbacks = callbacks
        self.run_id = run_id
        self.has_jobs = jobs is not None
        if jobs is not None:
            jobs.notify_of_jobs(wake_channel, channel)  # new jobs wake the loop
        self.outbox = Outbox(channel, run_id, engine.d.workers.n)
        self.sender = JobSender(engine, self.outbox, callbacks, jobs)
        self.reader = FrameReader()
        self.replies = ReplyReader(engine, callbacks, jobs, self.reader)
        self.received = NULL
        self.events_pending = True
        self.events_processed = self.next_steal = 0

    def __dealloc__(self):
        if self.received != NULL:
            message_free(self.received)

    @property
    def direct(self):
        return self.sender.direct

    @direct.setter
    def direct(self, bint value):
        self.sender.direct = value and self.has_jobs

    @property
    def check_results(self):
        return self.replies.check_results

    @check_results.setter
    def check_results(self, bint value):
        self.replies.check_results = value

    @property
    def unpickle_results(self):
        return self.replies.unpickle_results

    @unpickle_results.setter
    def unpickle_results(self, bint value):
        self.replies.unpickle_results = value

    def run(self):
        """Run until `process_events` returns True."""
        cdef int slack
        cdef int busy
        cdef int worker
        self.channel.acquire()
        slack = set_timer_slack(1)
        unavailable = self.channel.membership.lost | self.channel.membership.away
        for worker in range(self.engine.d.workers.n):
            self.engine.set_available(worker, worker + 1 not in unavailable)
        try:
            while True:
                busy = self.receive()
                busy += self.dispatch()
                self.channel.release_sent()
                if self.process_events():
                    return
                if not busy:
                    self.wait()
        finally:
            self.channel.release()
            set_timer_slack(<unsigned long>slack)

    def set_prelude(self, uint32_t function):
        """Set the function that each worker loads before any other."""
        self.sender.functions.prelude = function

    def stop(self, bint aborted, int64_t stop_code=0):
        """End the run on all workers; they pass `stop_code` to their callers."""
        self.outbox.stop(aborted, stop_code)

    # Events

    cdef bint process_events(self) except -1:
        """Call `process_events` after events, and from time to time; True at the end of the run."""
        cdef int64_t now
        if not self.has_events():
            now = self.channel.now()
            if now - self.events_processed < SIGNALS_NS:
                return False
            self.events_processed = now
        self.events_pending = False
        return self.callbacks.process_events()

    cdef bint has_events(self) noexcept nogil:
        """Whether there is something for `process_events` to do."""
        cdef dispatcher_t *d = &self.engine.d
        return (
            self.events_pending
            or not self.sender.direct
            or d.n_changes
            or d.track_all
            or d.unfinished == 0
            or (d.workers.in_flight == 0 and d.ready.count == 0)
            or self.engine.unneeded_read != d.cache.changed.size
        )

    # Receiving

    cdef int receive(self) except -1:
        """Process the messages that have arrived; return how many."""
        cdef int n = 0
        cdef message_t *m
        if self.received == NULL:
            self.received = self.channel.poll(self.run_id)
        while self.received != NULL:
            m = self.received
            self.received = NULL  # the reader owns the message, even when it raises
            self.reader.open(m)
            self.read()
            n += 1
            if n < MESSAGES_PER_ROUND:
                self.received = self.channel.poll(self.run_id)
        self.channel.check()
        self.update_workers()
        return n

    cdef int read(self) except -1:
        """Process the records of the open message."""
        cdef FrameReader r = self.reader
        cdef int worker = r.message.peer - 1
        if not 0 <= worker < self.engine.d.workers.n:
            raise MalformedFrameError(
                f"A message came from rank {worker + 1}, which is not a worker of this pool"
            )
        self.outbox.workers[worker].last_contact = self.channel.now()
        self.outbox.workers[worker].steal_pending = False
        while r.next():
            if r.record.kind == DONE:
                if self.replies.read(worker, self.sender.direct):
                    self.events_pending = True
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
                self.callbacks.rank_left(worker + 1, r.payload())
        return 0

    cdef int update_workers(self) except -1:
        """Handle ranks that have terminated, failed or returned since the last call."""
        cdef int peer
        self.channel.fail_terminated()
        peer = self.channel.take_lost()
        while peer >= 0:
            self.handle_failure(peer)
            peer = self.channel.take_lost()
        peer = self.channel.membership.take_return()
        while peer >= 0:
            self.engine.set_available(peer - 1, True)
            peer = self.channel.membership.take_return()
        return 0

    cdef int handle_failure(self, int peer) except -1:
        """Abort the jobs that a rank had begun, and give its other jobs to other workers."""
        cdef int worker = peer - 1
        cdef int64_t begun = self.channel.begun_by(peer, self.run_id)
        self.events_pending = True
        self.callbacks.rank_lost(peer, self.engine.begun_jobs(worker, begun))
        self.sender.discard_worker(worker)
        self.engine.worker_failed(worker, <int32_t>begun)
        return 0

    # Sending

    cdef int dispatch(self) except -1:
        """Carry out the engine's actions; return how many."""
        cdef action_t *actions
        cdef int64_t n = self.engine.detach_actions(&actions)
        cdef int64_t i
        try:
            for i in range(n):
                if actions[i].kind == SEND_JOB:
                    self.sender.send(actions[i].worker, actions[i].job)
                else:
                    self.outbox.put_skip(actions[i].worker, actions[i].job)
        finally:
            free(actions)
        self.sender.flush_all()
        if self.sender.encoding_failed:
            self.sender.encoding_failed = False
            self.events_pending = True
        return <int>n

    # Waiting

    cdef int wait(self) except -1:
        """Wait for a message, a wakeup or the callbacks' timeout, as long as signals may wait."""
        cdef double seconds = self.callbacks.timeout()
        cdef int64_t now = self.channel.now()
        cdef int64_t until = now + SIGNALS_NS
        if seconds * 1e9 < SIGNALS_NS:
            until = now + <int64_t>(seconds * 1e9)
        if self.can_steal():
            self.request_steals()
            until = min(until, now + STEAL_INTERVAL_NS)
        with nogil:
            self.received = self.channel.wait(self.run_id, until)
        if self.received == NULL:
            self.events_pending = True  # another thread may have woken the loop
        PyErr_CheckSignals()
        return 0

    cdef bint can_steal(self) noexcept nogil:
        """Whether a worker is idle while jobs wait behind the jobs of others."""
        cdef dispatcher_t *d = &self.engine.d
        return (
            d.ready.count == 0
            and d.workers.idle.size > 0
            and d.workers.in_flight > d.workers.n - d.workers.n_unavailable - d.workers.idle.size
        )

    cdef int request_steals(self) except -1:
        """Ask workers that have been silent for the jobs that they have not begun."""
        cdef int64_t now = self.channel.now()
        cdef int worker
        if now < self.next_steal:
            return 0
        self.next_steal = now + STEAL_INTERVAL_NS
        for worker in range(self.engine.d.workers.n):
            if (
                self.engine.d.workers.slots[worker].in_flight > 1
                and not self.outbox.workers[worker].steal_pending
                and now - self.outbox.workers[worker].last_contact >= STEAL_INTERVAL_NS
            ):
                self.outbox.put_steal_request(worker)
        self.sender.flush_all()
        return 0
