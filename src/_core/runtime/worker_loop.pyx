"""A worker's loop: receive, run, reply.

Messages wait in an inbox, and their records are read when it is their turn. Replies are
collected, and sent at once when there is nothing else to do, before and after jobs of
functions that take long (or are not known yet), and when the collected ones get many,
old or big.

While a job runs, a second thread, the *watch*, may act in the place of the first: when
the job turns out to be long, it sends the replies that wait, and hands jobs that have not
begun back to main when main asks for them. It never touches Python. The `guard` says
whose turn it is: the worker's own thread holds it all the time except while a job runs.
There is no watch where MPI does not support threads.

The *host* knows what the bytes mean. Its methods:

``load(flags, payload, buffers) -> object``
    A function of that payload, as `run` wants it. It never raises.
``run(job, function, flags, payload, buffers) -> (ok, payload, buffers)``
    Run a job. Whatever the job raises is in what is returned.
``name_of(function) -> bytes``
    How to call what `load` made, in a loop that knows its rank.
``lost(rank)``
    The main rank has died; must raise.
``needed(tokens)`` and ``unneeded(tokens)``
    Cache items (memoryviews of 64-bit numbers) that jobs need from here on, and
    those that no job needs any more.

A host that calls `serve_directly` is not asked to run jobs of plain arguments (see
`plain`). What it loads is then ``(f, mode)``, where mode 0 says to call `f` itself, and:

``pack(value) -> (payload, buffers)``
    A result that is not plain. May raise.
``failed(job, function, error) -> (ok, payload, buffers)``
    What to reply when a job raised.
"""
from bsbpool._core.jobs.invoke cimport CallDepth, call
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.runtime.fault_report cimport fault_report_arm, fault_report_disarm, fault_report_name
from bsbpool._core.protocol.frames cimport FrameReader, FrameWriter
from bsbpool._core.runtime.inbox cimport STOLEN, WITHDRAWN, Inbox, waiting_next, waiting_t
from bsbpool._core.runtime.process_monitor cimport ProcessMonitor
from bsbpool._core.comm.backoff cimport SIGNALS_NS, pause_slack
from bsbpool._core.protocol.scalar_codec cimport MAX_SCALARS, scalars_dump, scalars_load
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.runtime.progress_thread cimport ProgressThread
from bsbpool._core.protocol.wire cimport (
    DONE,
    EAGER_FRAME,
    FORGET,
    FUNCTION,
    JOB,
    LEAVE,
    RANK_FAILED,
    NEEDED,
    NO_RESULT,
    OK_REPLY,
    SCALARS,
    STEAL_REQUEST,
    STEAL_RESPONSE,
    SKIP,
    SKIPPED_REPLY,
    STOP,
    UNNEEDED,
    cursor_next,
    cursor_open,
    cursor_t,
    record_t,
)
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAIN = 0
    LONG_JOB_NS = 50_000
    OLD_REPLY_NS = 200_000
    MOST_REPLIES = 64
    LOOK_NS = 20_000  # how often the inbox is looked at between short jobs
    CHECK_NS = 500_000_000  # how often the process monitor are looked after


cdef class Known:
    """A function that main sent, and how long its jobs take here."""

    cdef object loaded
    cdef object f  # what is called itself; None: only the host can
    cdef bytes name
    cdef int64_t run_ns


cdef class WorkerLoop(ProgressThread):
    """Runs jobs for the main rank until that says stop.

    Parameters
    ----------
    channel : Channel
        The communicator's messages.
    run id : int
        The pool's run id on that channel.
    host : object
        See the module's text.
    rank : int, optional
        The number of this process. Given, it says on stderr in which job it was should a
        fault kill it.
    process monitor : ProcessMonitor, optional
        Whose death main is told of.
    """

    cdef Channel channel
    cdef uint32_t run_id
    cdef object host
    cdef object owner
    cdef CallDepth call_depth
    cdef public bint direct
    cdef dict functions
    cdef Known last
    cdef int64_t last_number
    cdef Inbox inbox
    cdef FrameReader reader  # the inbox's
    cdef FrameWriter replies
    cdef int64_t oldest_reply
    cdef int64_t looked
    cdef int64_t now  # when the last job ended, or what followed it
    cdef int stopped
    cdef readonly int64_t stop_code  # what main said when it stopped this loop
    cdef int rank
    cdef bint armed
    cdef ProcessMonitor process_monitor
    cdef int64_t checked
    cdef uint64_t *begun  # where others see which job this rank began last

    def __init__(
        self, Channel channel not None, uint32_t run_id, host, int rank=-1,
        ProcessMonitor process_monitor=None,
    ):
        self.channel = channel
        self.run_id = run_id
        self.host = host
        self.direct = False
        self.functions = {}
        self.last_number = -1
        self.inbox = Inbox()
        self.reader = self.inbox.reader
        self.replies = FrameWriter()
        self.stopped = -1
        self.rank = rank
        self.process_monitor = process_monitor
        self.checked = 0
        self.begun = channel.begun_slot()

    def serve_directly(self, owner, CallDepth call_depth not None):
        """Call functions without the host's help where possible, with `owner` first."""
        self.owner = owner
        self.call_depth = call_depth
        self.direct = True

    def run(self):
        """Serve until told to stop; return whether the run was aborted."""
        cdef int slack
        self.channel.acquire()
        slack = pause_slack(1)
        if self.process_monitor is not None:
            self.process_monitor.forget()  # main may not have heard of those in an earlier run
        if self.channel.table.threads:
            self.start_progress_thread()
        if self.rank >= 0:
            self.armed = fault_report_arm(self.rank, self.begun, self.channel.signal_slot())
        try:
            while self.stopped < 0:
                if self.inbox.empty():
                    self.receive()
                if self.stopped < 0 and not self.step():
                    self.flush()
                    if self.inbox.first == NULL and self.stopped < 0:  # flush receives, too
                        self.wait()
            self.read_rest()
            return bool(self.stopped)
        finally:
            if self.armed:
                fault_report_disarm()
                self.armed = False
            self.stop_progress_thread()
            self.channel.release()
            pause_slack(<unsigned long>slack)

    def leave(self, bytes reason):
        """Tell main that this rank stops serving though the run is not over."""
        self.replies.put(LEAVE, 0, 0, 0, 0, reason, ())
        # Without looking at the inbox first: its failure may be why this rank leaves.
        self.channel.post(self.replies.seal(MAIN, self.run_id))
        self.channel.drain(1.0)

    def let_go(self):
        """Do without the progress thread, in a forked child; its mutex may stay locked for ever."""
        self.tracked = False

    def look_up(self):
        """Do in the middle of a long job what the watch would, on a network without threads."""
        self.progress()

    # Coming in

    cdef int receive(self) except -1:
        """Take what has arrived into the inbox."""
        cdef int peer
        if not self.collect(False):
            raise MemoryError()
        self.now = self.looked = self.channel.now()
        self.channel.check()
        self.channel.release_sent()
        if self.stopped < 0:
            self.channel.handle_shutdowns()
        peer = self.channel.next_lost()
        while peer >= 0:
            if peer == MAIN:
                self.host.lost(peer)
            peer = self.channel.next_lost()
        return 0

    cdef bint collect(self, bint busy) noexcept nogil:
        """Take in messages and do at once what cannot wait; False when memory is out."""
        cdef message_t *m
        while True:
            m = self.channel.poll(self.run_id)
            if m == NULL:
                return True
            if not self.take_in(m, busy):
                return False

    cdef bint take_in(self, message_t *m, bint busy) noexcept nogil:
        cdef cursor_t cursor
        cdef record_t record
        cdef const uint8_t *payload
        self.inbox.add(m)
        if cursor_open(&cursor, m.frame, m.frame_size) < 0:
            return True  # the reader will say so
        while cursor_next(&cursor, &record, &payload) == 1:
            if record.kind == STOP:
                self.stopped = record.flags & 1
                self.stop_code = record.id
            elif record.kind == SKIP:
                self.inbox.take_back(record.id)
            elif record.kind == STEAL_REQUEST and not self.give_back(busy):
                return False
        return True

    cdef bint give_back(self, bint busy) noexcept nogil:
        """Give main the jobs that have not begun; without one that runs, all but the first."""
        cdef waiting_t at
        cdef bint keep = not (busy or self.inbox.begins)
        cdef bint some = False
        self.inbox.begin(&at)
        while waiting_next(&at):
            if keep:
                keep = False
                continue
            at.place[0] = STOLEN
            some = True
            if self.replies.put_scalars(STEAL_RESPONSE, at.record.id, 0, 0, 0, NULL, 0) < 0:
                return False
        return not some or self.send_replies()

    cdef bint send_replies(self) noexcept nogil:
        """Send the collected replies unless they have parts; False when memory is out."""
        cdef message_t *m
        if self.replies.frame.n_records == 0 or self.replies.frame.n_parts:
            return True  # parts are the worker's own thread's, which is about to send them
        m = self.replies.seal_scalars(MAIN, self.run_id)
        if m == NULL:
            return False
        self.channel.send(m)
        return True

    cdef void progress(self) noexcept nogil:
        """In the watch's thread: a job has been running for long."""
        if not self.look_around() or not self.send_replies() or not self.collect(True):
            self.channel.error = TRANSPORT_NO_MEMORY

    cdef bint look_around(self) noexcept nogil:
        """Now and then see whether process monitor have died; False when memory is out."""
        cdef int64_t now = self.channel.now()
        cdef int rank
        if self.process_monitor is None or now - self.checked < CHECK_NS:
            return True
        self.checked = now
        rank = self.process_monitor.next_dead()
        while rank >= 0:
            self.channel.mark_failed(rank)
            if rank != MAIN and self.replies.put_scalars(RANK_FAILED, rank, 0, 0, 0, NULL, 0) < 0:
                return False
            rank = self.process_monitor.next_dead()
        return True

    cdef int read_rest(self) except -1:
        """Hear what came before the end about items that no job needs any more."""
        cdef FrameReader r = self.reader
        while self.inbox.next():
            if r.record.kind == UNNEEDED:
                self.host.unneeded(r.numbers())
        return 0

    cdef bint step(self) except -1:
        """Do what the next record says; False when there is none."""
        cdef FrameReader r = self.reader
        if not self.inbox.next():
            return False
        if r.record.kind == JOB:
            self.run_job()
        elif r.record.kind == WITHDRAWN:
            self.reply(SKIPPED_REPLY, 0, None, NO_BUFFERS)
        elif r.record.kind == FUNCTION:
            self.learn()
        elif r.record.kind == FORGET:
            self.functions.pop(r.record.aux, None)
            self.last_number = -1
        elif r.record.kind == NEEDED:
            self.host.needed(r.numbers())
        elif r.record.kind == UNNEEDED:
            self.host.unneeded(r.numbers())
        if r.record.kind != JOB:
            self.now = self.channel.now()  # a function's import is no run time of the next job
        return True

    cdef int learn(self) except -1:
        cdef FrameReader r = self.reader
        cdef Known known = Known()
        known.loaded = self.host.load(r.record.flags & 0x7F, r.payload(), r.buffers())
        known.run_ns = LONG_JOB_NS
        known.name = self.host.name_of(known.loaded) if self.rank >= 0 else b""
        if self.direct:
            f, mode = known.loaded
            known.f = f if mode == 0 else None
        self.functions[r.record.aux] = known
        self.last_number = -1
        return 0

    cdef Known function(self, uint32_t number):
        if number != self.last_number:
            if self.armed:
                fault_report_name((<Known>self.functions[number]).name)
            self.last = self.functions[number]
            self.last_number = number
        return self.last

    # Running

    cdef int run_job(self) except -1:
        cdef FrameReader r = self.reader
        cdef Known known = self.function(r.record.aux)
        cdef int64_t took
        cdef bint wait
        if self.now - self.looked > LOOK_NS or known.run_ns >= LONG_JOB_NS:
            self.inbox.begins = True
            if known.run_ns >= LONG_JOB_NS:
                self.flush()  # what is done must not wait for this one
                self.flush_pending()
            self.receive()
            self.inbox.begins = False
            if self.stopped >= 0:
                return 0
            if self.inbox.skipped == r.record.id:
                return self.reply(SKIPPED_REPLY, 0, None, NO_BUFFERS)
        self.begun[0] = (
            <uint64_t>self.run_id << 32 | ((<uint64_t>r.record.id + 1) & <uint64_t>0xFFFFFFFF)
        )
        if self.direct and known.f is not None and r.record.flags & SCALARS:
            took = self.call_scalars(known)
        else:
            took = self.call_host(known)
        # Long runs are believed at once, short ones little by little.
        if took > known.run_ns:
            known.run_ns = took
        else:
            known.run_ns += (took - known.run_ns) // 4
        if (
            took > LONG_JOB_NS
            or self.replies.frame.n_records >= MOST_REPLIES
            or self.replies.frame.n_parts
            or self.replies.frame.size > EAGER_FRAME
            or self.now - self.oldest_reply > OLD_REPLY_NS
        ):
            # What travels from where it is must not be changed by the next job.
            wait = self.replies.frame.n_parts or not self.tracked
            self.flush()
            if wait:
                self.flush_pending()
        return 0

    cdef int64_t call_scalars(self, Known known) except -1:
        """Run a job and collect its reply; return how long it took."""
        cdef FrameReader r = self.reader
        cdef uint8_t[MAX_SCALARS] payload
        cdef int64_t start = self.now
        cdef int size = 0
        cdef uint8_t flags = OK_REPLY
        try:
            args = scalars_load(r.inline_payload, <Py_ssize_t>r.record.size)
            self.call_depth.inside_job += 1
            self.give(start)
            try:
                value = call(known.f, self.owner, args, None)
            finally:
                self.take()
                self.call_depth.inside_job -= 1
                self.now = self.channel.now()
            if value is None:
                flags |= NO_RESULT
            else:
                size = scalars_dump(value, payload)
                if size == 0:
                    packed, buffers = self.host.pack(value)
                    self.reply(OK_REPLY, self.now - start, packed, buffers)
                    return self.now - start
                flags |= SCALARS
        except BaseException as error:
            ok, packed, buffers = self.host.failed(r.record.id, known.loaded, error)
            self.reply(ok, self.now - start, packed, buffers)
            return self.now - start
        self.begin_reply()
        if self.replies.put_scalars(
            DONE, r.record.id, 0, flags, <uint64_t>(self.now - start), payload, size
        ) < 0:
            raise MemoryError()
        return self.now - start

    cdef int64_t call_host(self, Known known) except -1:
        """Let the host run a job; return how long it took."""
        cdef FrameReader r = self.reader
        cdef int64_t start = self.now
        payload, buffers = r.payload(), r.buffers()
        size = len(payload) + sum([len(buffer) for buffer in buffers])
        self.give(start)
        try:
            ok, result, parts = self.host.run(
                r.record.id, known.loaded, r.record.flags & 0x7F, payload, buffers
            )
        finally:
            self.take()
            self.now = self.channel.now()
        self.reply(ok, self.now - start, result, parts, size >> 10)
        return self.now - start

    # Going out

    cdef int begin_reply(self) except -1:
        if self.replies.frame.n_records == 0:
            self.oldest_reply = self.now
        return 0

    cdef int reply(self, uint8_t flags, int64_t took, payload, buffers, uint32_t kib=0) except -1:
        self.begin_reply()
        self.replies.put(
            DONE, self.reader.record.id, kib, flags, <uint64_t>took, payload, buffers
        )
        return 0

    cdef int flush(self) except -1:
        """Send the replies."""
        if self.replies.frame.n_records == 0:
            return 0
        self.receive()
        # Jobs handed back have taken the replies along; after a stop nobody waits for them.
        if self.stopped < 0 and self.replies.frame.n_records:
            self.channel.post(self.replies.seal(MAIN, self.run_id))
        self.now = self.channel.now()
        return 0

    cdef int flush_pending(self) except -1:
        """Wait until the replies have left: a job may now keep MPI waiting for long."""
        while self.stopped < 0 and self.channel.pending():
            # Main takes large messages as soon as it looks; what it sends
            # meanwhile must be received, or both sides would wait for ever.
            self.receive()
            if self.channel.pending():
                with nogil:
                    self.channel.backoff_wait()
                PyErr_CheckSignals()
        self.channel.release_sent()
        return 0

    cdef int wait(self) except -1:
        cdef message_t *m
        cdef bint room = True
        cdef int64_t until = self.channel.now() + SIGNALS_NS
        with nogil:
            m = self.channel.wait(self.run_id, until)
            if m != NULL:
                room = self.take_in(m, False)
        if not room:
            raise MemoryError()
        self.now = self.channel.now()
        if not self.look_around():
            raise MemoryError()
        PyErr_CheckSignals()
        return 0


cdef tuple NO_BUFFERS = ()
