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
from bsbpool._core.protocol.wire cimport (
    DONE, GANG_DONE, HAVE_DATA, LEAVE, OUTPUT, RANK_FAILED, STEAL_RESPONSE, STOP_ABORTED,
    STOP_DEATHS, STOP_INTERRUPTS, STOP_REPORTS,
)
from bsbpool._core.runtime.gang_messages cimport GangMessages
from bsbpool._core.runtime.job_sender cimport STEAL_INTERVAL_NS, JobSender
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.reply_reader cimport ReplyReader
from bsbpool._core.jobs.invoke cimport MAX_REASON
from bsbpool._core.scheduling.dispatcher_tables cimport (
    REFUSE_JOB,
    SEND_GANG,
    SEND_JOB,
    action_t,
    dispatcher_t,
)
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport FAILED, status_is_terminal
from bsbpool._core.scheduling.worker_queues cimport queues_can_steal, queues_stolen
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free

from bsbpool._core.protocol.frames import MalformedFrameError

cdef enum:
    MESSAGES_PER_ROUND = 64


cdef int wake_channel(object channel) except -1:
    (<Channel>channel).wake_nogil()
    return 0


cdef class MainLoop:
    """Runs one pool's jobs on the other ranks. Worker w is rank w + 1.

    Parameters
    ----------
    engine : Engine
        The pool's tables, with its workers opened.
    channel, run_id : Channel, int
        The messages of the communicator, and the pool's run on it.
    callbacks : LoopCallbacks
        Handle pickles, errors, listeners and limits.
    jobs : Submitter, optional
        The pool. If given, no callback sends jobs with scalar arguments or stores results.

    Attributes
    ----------
    direct : bool
        Whether jobs with scalar arguments are sent without a callback, and `process_events` is
        called only after events. Always False without `jobs`.
    data : DataDirectory
        Which workers have the large data that jobs have as arguments.
    events : LoopEvents or None
        The events of a pool with a journal.
    gangs : GangMessages
        Sends jobs to several workers at one time, and reads their replies.
    outbox : Outbox
        The messages to the workers.
    replies : ReplyReader
        Reads the replies of the workers.
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
        self.replies = ReplyReader(engine, callbacks, jobs, self.reader, self.sender.data)
        self.gangs = GangMessages(
            engine, self.sender, self.replies, self.reader, self.outbox, jobs, callbacks
        )
        self.data, self.interrupts = self.sender.data, []
        self.received = NULL
        self.events_pending = True
        self.events_processed = 0

    def __dealloc__(self):
        if self.received != NULL:
            message_free(self.received)

    @property
    def direct(self):
        return self.sender.direct

    @direct.setter
    def direct(self, bint value):
        self.sender.direct = value and self.has_jobs

    def run(self):
        """Run until `process_events` returns True."""
        cdef int slack, busy
        self.channel.acquire()
        slack = set_timer_slack(1)
        for rank in self.channel.membership.away:
            self.engine.set_available(rank - 1, False)
        for rank in self.channel.membership.lost:
            self.engine.worker_failed(rank - 1)
        try:
            while True:
                busy = self.receive()
                busy += self.dispatch()
                if self.interrupts:
                    self.send_interrupts()
                self.channel.release_sent()
                if self.process_events():
                    self.send_interrupts()  # of jobs that were cancelled just now
                    return
                if not busy:
                    self.wait()
        finally:
            self.channel.release()
            set_timer_slack(<unsigned long>slack)

    def set_prelude(self, uint32_t function):
        """Set the function that each worker loads before any other."""
        self.sender.functions.prelude = function

    def set_remote(self, bytes remote not None):
        """Estimate the clocks of workers on other nodes.

        Parameters
        ----------
        remote : bytes
            For each worker, 1 if it is on another node, else 0. Empty: none is.
        """
        self.replies.set_remote(remote)

    @property
    def clock_offsets(self):
        """The estimated differences of the workers' clocks from this rank's, in ns."""
        return self.replies.offsets()

    def interrupt(self, int64_t job, int kind, bytes reason not None=b""):
        """Let the worker that runs a job interrupt it; from any thread.

        Parameters
        ----------
        job : int
            The job.
        kind : int
            An `InterruptKind`.
        reason : bytes
            The message of the error in the job, as UTF-8.
        """
        self.interrupts.append((job, kind, reason[:MAX_REASON]))
        self.channel.wake_nogil()

    def stop(self, bint aborted, int64_t stop_code=0, bint interrupts=False):
        """End the run on all workers.

        Parameters
        ----------
        aborted : bool
            Whether the run ends before all of its jobs have. All workers then report that they have
            left it; otherwise those do that run a cancelled job.
        stop_code : int
            A number that the workers pass to their callers.
        interrupts : bool
            Whether to interrupt the jobs that the workers run.

        Returns
        -------
        list of int
            The ranks of the workers that have jobs, which they may still run.
        """
        cdef int worker
        cdef uint8_t flags = STOP_ABORTED if aborted else 0
        cdef uint8_t reports
        busy = []
        if interrupts:
            flags |= STOP_INTERRUPTS
        self.outbox.flush_if_due()
        if self.channel.membership.lost:
            flags |= STOP_DEATHS
        if aborted:
            self.channel.relaying.stop()  # leaders may have left the run
        for worker in reversed(range(self.engine.d.workers.n)):  # leaders after their workers
            reports = 0
            if self.engine.d.workers.slots[worker].in_flight:
                reports = STOP_REPORTS
                busy.append(worker + 1)
            self.outbox.put_stop(worker, flags | reports, stop_code)
        self.channel.release_sent()
        self.channel.relaying.await_confirmations()
        return busy[::-1]

    # Events

    cdef bint process_events(self) except -1:
        """Call `process_events` after events, and from time to time; True at the end of the run."""
        cdef int64_t now
        if self.events is not None and self.engine.d.n_changes:
            self.events.gather()  # ends of jobs that only the journal needs cost no more than that
            self.events_pending = self.events_pending or bool(self.events.due)
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

    cdef int check_rank(self, int64_t rank) except -1:
        if 0 < rank <= self.engine.d.workers.n:
            return 0
        raise MalformedFrameError(f"A message came from or names rank {rank}, which is no worker")

    cdef int read(self) except -1:
        """Process the records of the open message."""
        cdef FrameReader r = self.reader
        cdef int worker = r.message.peer - 1
        self.check_rank(worker + 1)
        self.outbox.workers[worker].last_contact = self.channel.now()
        self.replies.begin(worker, self.outbox.workers[worker].last_contact)
        cdef int64_t n_done = self.engine.d.workers.slots[worker].n_done
        while r.next():
            if r.record.kind == DONE:
                if self.replies.read(worker, self.sender.direct):
                    self.events_pending = True
            elif r.record.kind == STEAL_RESPONSE:
                self.engine.check_job(r.record.id)
                queues_stolen(&self.engine.d, worker, <int32_t>r.record.id)
                self.engine.raise_fault()
            elif r.record.kind == GANG_DONE:
                if self.gangs.read(worker):
                    self.events_pending = True
            elif r.record.kind == HAVE_DATA:
                self.data.confirm(worker, r.record.id)
            elif r.record.kind == RANK_FAILED:
                self.check_rank(r.record.id)
                self.channel.mark_failed(<int>r.record.id)
            elif r.record.kind == OUTPUT:
                self.engine.check_job(r.record.id)
                self.callbacks.job_output(r.record.id, r.record.aux, r.payload())
                self.events_pending = True
            elif r.record.kind == LEAVE:
                self.callbacks.rank_left(worker + 1, r.payload())
        self.replies.end(worker)
        self.outbox.note_received(worker, &self.engine.d.workers.slots[worker], n_done)
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
        self.check_rank(peer)
        cdef int worker = peer - 1
        cdef int64_t begun = self.channel.begun_by(peer, self.run_id)
        cdef int64_t gang = self.gangs.begin_loss(worker)
        self.events_pending = True
        if self.gangs.is_failing(worker):
            self.callbacks.rank_lost(peer, [])  # the job has another error
        else:
            self.callbacks.rank_lost(peer, self.engine.begun_jobs(worker, begun))
        self.sender.discard_worker(worker)
        self.engine.worker_failed(worker, <int32_t>begun)
        self.gangs.end_loss(worker, gang)
        return 0

    # Sending

    cdef int dispatch(self) except -1:
        """Carry out the engine's actions; return how many."""
        cdef action_t *actions
        cdef int64_t n
        cdef int64_t i
        if self.engine.d.special.timed:
            self.engine.d.special.now = self.channel.now()
        n = self.engine.detach_actions(&actions)
        try:
            for i in range(n):
                if actions[i].kind == SEND_JOB:
                    self.sender.send(actions[i].worker, actions[i].job)
                elif actions[i].kind == REFUSE_JOB:
                    self.refuse(actions[i].job)
                elif actions[i].kind == SEND_GANG:
                    self.gangs.send(actions[i].job)
                else:
                    self.outbox.put_skip(actions[i].worker, actions[i].job)
        finally:
            free(actions)
        self.sender.flush_all()
        if self.sender.encoding_failed:
            self.sender.encoding_failed = False
            self.events_pending = True
        return <int>n

    cdef int send_interrupts(self) except -1:
        """Send the interrupts of jobs that are in the queue of a worker."""
        cdef int worker
        while self.interrupts:
            job, kind, reason = self.interrupts.pop(0)
            self.engine.check_job(job)
            worker = self.engine.d.jobs[<int64_t>job].worker
            if worker >= 0 and not self.gangs.interrupt(job, kind, reason):
                self.outbox.put_interrupt(worker, job, kind, reason)
        return self.sender.flush_all()

    cdef int refuse(self, int64_t job) except -1:
        """End a job that no worker can run."""
        if not status_is_terminal(self.engine.d.jobs[job].status):
            self.callbacks.refuse_job(job)
            self.engine.finish(job, <int>FAILED)
            self.events_pending = True
        return 0

    # Waiting

    cdef int wait(self) except -1:
        """Wait for a message, a wakeup or the callbacks' timeout, as long as signals may wait."""
        cdef double seconds = self.callbacks.timeout()
        cdef int64_t now = self.channel.now()
        cdef int64_t until = now + SIGNALS_NS
        if seconds * 1e9 < SIGNALS_NS:
            until = now + <int64_t>(seconds * 1e9)
        if self.engine.d.special.n_ready and self.engine.d.special.wake_at:
            until = min(until, self.engine.d.special.wake_at)  # a job may then run anywhere
        if queues_can_steal(&self.engine.d):
            self.sender.request_steals(now)
            until = min(until, now + STEAL_INTERVAL_NS)
        with nogil:
            self.received = self.channel.wait(self.run_id, until)
        if self.received == NULL:
            self.events_pending = True  # another thread may have woken the loop
        PyErr_CheckSignals()
        return 0
