"""A worker's loop: receive, run, reply.

Messages wait in an inbox, and their records are read in order. Replies are collected. They are sent
when there is nothing else to do, before and after jobs of functions that take long (or whose run
time is unknown), and when they become too many, too old or too large. Main may allow replies to
wait for others while the worker has more jobs; then only their number and size count.

While a job runs, the progress thread may act for the worker's thread (see `WorkerReceiver`). The
mutex of `ProgressThread` keeps the two apart: the worker's thread holds it except while a job runs.
There is no progress thread where MPI does not support threads.

Pickling, errors and cache items are the work of callbacks, see `WorkerCallbacks`.
"""
from bsbpool._core.comm.backoff cimport SIGNALS_NS, set_timer_slack
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.jobs.call_arguments cimport split_call
from bsbpool._core.jobs.invoke cimport CallDepth, call
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.scalar_codec cimport MAX_SCALARS, scalars_dump, scalars_load
from bsbpool._core.protocol.wire cimport (
    DONE,
    FORGET,
    FORGET_DATA,
    FUNCTION,
    GANG,
    GANG_DONE,
    GANG_FREE,
    GANG_JOB,
    JOB,
    KEEP,
    KEEP_ONLY,
    NEEDED,
    NO_RESULT,
    OK_REPLY,
    ONLY_ARGS,
    SCALARS,
    SKIPPED_REPLY,
    UNNEEDED,
)
from bsbpool._core.runtime.fault_report cimport fault_report_arm, fault_report_disarm
from bsbpool._core.runtime.inbox cimport GANG_SKIPPED, SKIPPED
from bsbpool._core.runtime.loaded_functions cimport LONG_JOB_NS, Function, LoadedFunctions
from bsbpool._core.runtime.data_receiver cimport DataReceiver
from bsbpool._core.runtime.worker_receiver cimport MAIN
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    POLL_NS = 20_000  # how often messages are received between short jobs

cdef tuple NO_BUFFERS = ()


cdef class WorkerLoop(DataReceiver):
    """Runs jobs for the main rank until it ends the run.

    Parameters
    ----------
    channel : Channel
        The messages of the communicator.
    run_id : int
        The pool's run on that channel.
    callbacks : WorkerCallbacks
        Handle pickles, errors and cache items.
    rank : int, optional
        The rank of this process. If given, a fault that kills the process is reported on stderr.

    Attributes
    ----------
    direct : bool
        Whether the loop itself calls functions that have scalar arguments.
    """

    cdef object callbacks
    cdef object owner
    cdef CallDepth call_depth
    cdef public bint direct
    cdef LoadedFunctions functions
    cdef FrameReader reader  # the inbox's
    cdef int64_t polled  # when messages were last received
    cdef int64_t now  # when the last record was processed
    cdef int rank
    cdef bint armed
    cdef uint64_t *begun  # where other ranks read which job this rank began last

    def __init__(self, Channel channel not None, uint32_t run_id, callbacks, int rank=-1):
        super().__init__(channel, run_id)
        self.callbacks = callbacks
        self.functions = LoadedFunctions(callbacks)
        self.reader = self.inbox.reader
        self.rank = rank
        self.begun = channel.begun_slot()

    def enable_direct_calls(self, owner, CallDepth call_depth not None):
        """Let the loop call functions that have scalar arguments, with `owner` first."""
        self.owner = owner
        self.call_depth = call_depth
        self.direct = True

    def run(self):
        """Run jobs until the main rank ends the run; return whether it was aborted."""
        cdef int slack
        self.channel.acquire()
        slack = set_timer_slack(1)
        # The main rank may not have received the reports of an earlier run.
        self.channel.process_monitor.report_all_again()
        if self.rank >= 0:
            self.armed = fault_report_arm(self.rank, self.begun, self.channel.signal_slot())
        try:
            while not self.stopped:
                if self.inbox.is_empty():
                    self.receive()
                if not self.stopped and not self.step():
                    self.flush()  # which receives, too
                    if self.inbox.first == NULL and not self.stopped:
                        self.wait()
            self.channel.relaying.confirm(self.run_id)
            if self.has_missed_deaths:
                self.learn_of_deaths()
            self.read_remaining()
            self.data.finish()
            return bool(self.aborted)
        finally:
            if self.armed:
                fault_report_disarm()
                self.armed = False
            self.stop_progress_thread()
            self.channel.release()
            set_timer_slack(<unsigned long>slack)

    def job_seconds(self):
        """Return for how long the present job has run; 0 while none runs."""
        return 0.0 if self.running_job.number < 0 else (self.channel.now() - self.now) * 1e-9

    def running_function(self):
        """Return the function of the running job, as `load_function` returned it."""
        return self.functions.get(self.reader.record.aux, False).loaded

    # Receiving

    cdef int receive(self) except -1:
        """Receive messages into the inbox, and handle failures of ranks."""
        if not self.receive_all(False):
            raise MemoryError()
        self.now = self.polled = self.channel.now()
        self.receive_failures()
        if MAIN in self.channel.membership.lost:
            self.callbacks.main_lost(MAIN)
        return 0

    cdef int wait(self) except -1:
        """Wait for a message, but not longer than signals may wait."""
        cdef message_t *m
        cdef bint has_memory = True
        cdef int64_t until = self.channel.now() + SIGNALS_NS
        with nogil:
            m = self.channel.wait(self.run_id, until)
            if m != NULL:
                has_memory = self.accept(m, False)
        if not has_memory:
            raise MemoryError()
        self.now = self.channel.now()
        if not self.check_processes():
            raise MemoryError()
        if self.has_dead:
            self.has_dead = not self.callbacks.ranks_died()
        PyErr_CheckSignals()
        return 0

    cdef bint step(self) except -1:
        """Process the next record; return False when there is none."""
        cdef FrameReader r = self.reader
        if not self.inbox.next():
            return False
        if r.record.kind == JOB:
            self.run_job()
        elif r.record.kind == SKIPPED:
            self.reply(SKIPPED_REPLY, 0, None, NO_BUFFERS)
        elif r.record.kind == FUNCTION:
            if self.channel.supports_threads():
                self.start_progress_thread()  # not earlier: a run may have no jobs for this rank
                self.may_hold = self.has_thread
            self.flush()  # to load it may take long
            self.functions.load(r, self.direct, self.rank >= 0)
        elif r.record.kind == FORGET:
            self.functions.drop(r.record.aux)
        elif r.record.kind == FORGET_DATA:
            self.data.forget(r.record.id)
            if r.record.id < 0:
                self.callbacks.data_dropped(r.record.id)
        elif r.record.kind == NEEDED:
            self.callbacks.items_needed(r.numbers())
        elif r.record.kind == UNNEEDED:
            self.callbacks.items_unneeded(r.numbers())
        elif r.record.kind in (GANG, GANG_FREE, GANG_JOB, GANG_SKIPPED):
            self.take_part()
        if r.record.kind != JOB:
            self.now = self.channel.now()  # the time to load a function is not the next job's
        return True

    cdef int read_remaining(self) except -1:
        """After STOP, still free the items that became unneeded before it."""
        cdef FrameReader r = self.reader
        while self.inbox.next():
            if r.record.kind == UNNEEDED:
                self.callbacks.items_unneeded(r.numbers())
            elif r.record.kind == GANG:  # other ranks may be making this communicator
                self.take_part()
        return 0

    cdef int take_part(self) except -1:
        """Process a record of a job that several workers run."""
        cdef FrameReader r = self.reader
        if r.record.kind == GANG:
            self.callbacks.gang_formed(r.record.id, r.record.aux, r.numbers())
        elif r.record.kind == GANG_FREE:
            self.callbacks.gang_freed(r.record.aux, bool(r.record.flags))
        else:
            self.replies.kind = GANG_DONE
            if r.record.kind == GANG_JOB:
                self.run_job()
            else:
                self.reply(SKIPPED_REPLY, 0, None, NO_BUFFERS)
            self.replies.kind = DONE
        return 0

    # Running

    cdef int run_job(self) except -1:
        """Run the job of the current record, and send replies that are due."""
        cdef FrameReader r = self.reader
        cdef Function function = self.functions.get(r.record.aux, self.armed)
        cdef int64_t run_ns
        if (
            self.now - self.polled > POLL_NS
            or function.run_ns >= LONG_JOB_NS
            or self.replies.is_too_late(self.now)
        ):
            if not self.prepare(function.run_ns):
                return 0
        self.begun[0] = (
            <uint64_t>self.run_id << 32 | ((<uint64_t>r.record.id + 1) & <uint64_t>0xFFFFFFFF)
        )
        if self.direct and function.f is not None and r.record.flags & SCALARS:
            run_ns = self.call_directly(function)
        else:
            run_ns = self.call_back(function)
        function.add_run(run_ns)
        if self.replies.is_due(self.now, run_ns):
            self.send_due_replies()
        return 0

    cdef bint prepare(self, int64_t run_ns) except -1:
        """Receive messages before a job; return False when the job must not run."""
        self.inbox.is_starting = True
        self.channel.relaying.start_thread()
        if self.replies.is_too_late(self.now) or (
            run_ns >= LONG_JOB_NS and not self.replies.may_wait(self.now + run_ns)
        ):
            self.flush()  # replies must not wait for the end of a long job
            self.flush_pending()
        self.receive()
        self.inbox.is_starting = False
        if self.stopped:
            return False
        if self.inbox.skipped_job == self.reader.record.id:
            self.reply(SKIPPED_REPLY, 0, None, NO_BUFFERS)
            return False
        return True

    cdef int64_t call_directly(self, Function function) except -1:
        """Run a job with plain arguments and add its reply; return its run time in ns."""
        cdef FrameReader r = self.reader
        cdef uint8_t[MAX_SCALARS] payload
        cdef int64_t start = self.now
        cdef int size = 0
        cdef uint8_t flags = OK_REPLY
        cdef Py_ssize_t position = 0
        cdef object keywords = None
        try:
            given = scalars_load(r.inline_payload, <Py_ssize_t>r.record.size)
            if r.record.flags & ONLY_ARGS:
                args = given
            else:
                args, keywords, position = split_call(given)
            self.call_depth.inside_job += 1
            self.running_job.begin(r.record.id)
            self.begin_busy(start)
            try:
                value = call(function.f, self.owner, args, keywords, position)
            finally:
                self.end_busy()
                self.running_job.end()
                self.call_depth.inside_job -= 1
                self.now = self.channel.now()
            if value is None:
                flags |= NO_RESULT
            else:
                size = scalars_dump(value, payload)
                if size == 0:
                    packed, buffers = self.callbacks.pack_result(value)
                    value = None
                    self.reply_with_result(OK_REPLY, self.now - start, packed, buffers, 0)
                    return self.now - start
                flags |= SCALARS
        except BaseException as error:
            ok, packed, buffers = self.callbacks.job_failed(r.record.id, function.loaded, error)
            self.reply(ok, self.now - start, packed, buffers)
            return self.now - start
        timing = self.replies.note_run(start, self.now)
        if self.replies.put_scalars(DONE, r.record.id, 0, flags, timing, payload, size) < 0:
            raise MemoryError()
        self.hold_reply()
        return self.now - start

    cdef int64_t call_back(self, Function function) except -1:
        """Run a job with the callback and add its reply; return its run time in ns."""
        cdef FrameReader r = self.reader
        cdef int64_t start = self.now
        payload, buffers = r.payload(), r.buffers()
        size = len(payload) + sum([len(buffer) for buffer in buffers])
        self.running_job.begin_masked(r.record.id)
        self.begin_busy(start)
        try:
            ok, result, parts = self.callbacks.run_job(
                r.record.id, function.loaded, r.record.flags & 0x7F, payload, buffers
            )
        finally:
            self.end_busy()
            self.running_job.end()
            self.now = self.channel.now()
        self.reply_with_result(ok, self.now - start, result, parts, size >> 10)
        return self.now - start

    # Replying

    cdef int reply(self, uint8_t flags, int64_t run_ns, payload, buffers, uint32_t kib=0) except -1:
        """Add the reply for the job of the current record."""
        self.replies.put_reply(
            self.reader.record.id, flags, run_ns, payload, buffers, kib, self.now
        )
        if flags & OK_REPLY:
            self.hold_reply()
        return 0

    cdef int hold_reply(self) except -1:
        """Let the reply of the current record, which tells a success, wait if main allows it."""
        if self.reader.record.extra and self.may_hold:
            self.replies.hold(self.now, self.reader.record.extra)
        return 0

    cdef int reply_with_result(
        self, uint8_t flags, int64_t run_ns, payload, buffers, uint32_t kib
    ) except -1:
        """Add the reply for a job that has run, and keep its result if other jobs need it."""
        cdef FrameReader r = self.reader
        if r.record.flags & (KEEP | KEEP_ONLY) and flags & OK_REPLY and payload is not None:
            kept = self.data.keep_result(r.record.id, r.record.flags, payload, buffers)
            if kept is not None:
                flags |= kept[0]
                payload, buffers = kept[1:]
        return self.reply(flags, run_ns, payload, buffers, kib)

    cdef int send_due_replies(self) except -1:
        """Send the replies after a job; wait for the sends if the next job could disturb them."""
        # The next job may change the memory of parts. Without a progress thread, MPI makes no
        # progress on a send during the job.
        cdef bint must_wait = self.replies.frame.n_parts or not self.has_thread
        self.flush()
        if must_wait:
            self.flush_pending()
        return 0

    cdef int flush(self) except -1:
        """Send the replies."""
        if self.replies.frame.n_records == 0:
            return 0
        self.receive()
        # `receive` may have sent them with stolen jobs. After STOP the main rank drops replies.
        if not self.stopped and self.replies.frame.n_records:
            self.replies.note_peak(self.now)
            self.channel.post(self.replies.seal(MAIN, self.run_id))
        self.now = self.channel.now()
        return 0

    cdef int flush_pending(self) except -1:
        """Wait until all messages are sent: MPI makes no progress on them during a job."""
        while not self.stopped and self.channel.pending():
            # The main rank receives large messages as soon as it polls. Its own messages must be
            # received here at the same time, or both ranks would wait for each other forever.
            self.receive()
            if self.channel.pending():
                with nogil:
                    self.channel.backoff_wait()
                PyErr_CheckSignals()
        self.channel.release_sent()
        return 0
