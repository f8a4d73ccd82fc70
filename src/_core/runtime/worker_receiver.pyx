"""Receiving the messages of the main rank, and answering those that cannot wait.

Most records are read in order, by `WorkerLoop`. STOP, SKIP, INTERRUPT, STEAL_REQUEST and those
about data other than FORGET_DATA take effect as soon as they arrive. So all of this needs no GIL
and runs in two threads: in the worker's thread, and in the progress thread while the worker runs a
long job. The progress thread also sends waiting replies.
"""
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.comm.transport cimport TRANSPORT_MALFORMED, TRANSPORT_NO_MEMORY
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport (
    DATA,
    DATA_LOST,
    GANG_JOB,
    HAVE_DATA,
    INTERRUPT,
    LEAVE,
    OUTPUT,
    RANK_FAILED,
    SCALARS,
    SEND_DATA,
    SKIP,
    STEAL_REQUEST,
    STEAL_RESPONSE,
    STOP,
    STOP_ABORTED,
    STOP_DEATHS,
    STOP_INTERRUPTS,
    STOP_REPORTS,
    cursor_next,
    cursor_open,
    cursor_t,
    record_t,
)
from bsbpool._core.runtime.data_store cimport DataStore
from bsbpool._core.runtime.inbox cimport STOLEN, Inbox, job_iter_next, job_iter_t
from bsbpool._core.runtime.progress_thread cimport ProgressThread, pthread_mutex_t
from bsbpool._core.runtime.reply_buffer cimport ReplyBuffer
from bsbpool._core.jobs.invoke cimport CANCEL_INTERRUPT, RUN_ENDED_INTERRUPT, RunningJob
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)

cdef enum:
    CHECK_PROCESSES_NS = 500_000_000
    PROCESSES_PER_CHECK = 16


cdef class WorkerReceiver(ProgressThread):
    """The receiving side of a worker.

    Parameters
    ----------
    channel : Channel
        The messages of the communicator.
    run_id : int
        The pool's run on that channel.

    Attributes
    ----------
    stop_code : int
        The stop code that the main rank has sent with STOP.
    must_report : bool
        Whether the main rank waits for the report that this rank has left the run.
    running_job : RunningJob
        The job that this rank runs.
    may_hold : bool
        Whether replies may be held back: if they are due inside of a job, something calls
        `progress`, as the progress thread does.
    """

    def __init__(self, Channel channel not None, uint32_t run_id):
        self.channel = channel
        self.run_id = run_id
        self.inbox = Inbox()
        self.replies = ReplyBuffer()
        self.running_job = RunningJob()
        self.data = DataStore(channel, run_id)

    def detach_progress_thread(self):
        """Forget the progress thread, in a forked child, where it does not exist."""
        self.has_thread = False  # the mutex may stay locked forever

    def make_progress(self):
        """Do what the progress thread would do, on a transport that allows no second thread."""
        self.progress()

    def poll_interrupts(self):
        """Receive messages inside of a job, on a transport that allows no second thread.

        Called in the thread of the job, which may not use the interpreter otherwise for long.
        """
        if not self.has_thread:
            self.progress()

    def running_payload(self, int64_t number):
        """Return the flags and the payload of a job while it runs here; None if it has a pickle.

        The payload has plain values, so reading it again runs no code of their classes.
        """
        cdef FrameReader r = self.inbox.reader
        if r.record.id != number or self.running_job.number != number:
            return None
        return (r.record.flags & 0x7F, r.payload()) if r.record.flags & SCALARS else None

    def send_leave(self, bytes reason):
        """Report to the main rank that this rank has left the run, and wait until that is sent.

        Sent when this rank stops before the run has ended, which ends the run. Also sent after an
        aborted run: the main rank may have marked this rank as away.

        Parameters
        ----------
        reason : bytes
            The reason, for the error of the main rank.
        """
        self.channel.relaying.stop()  # the leader may have left the run
        self.replies.put(LEAVE, 0, 0, 0, 0, reason, ())
        # Not with `flush`, which receives first: the reason may be that receiving failed.
        self.channel.post(self.replies.seal(MAIN, self.run_id))
        self.channel.drain(1.0)

    def send_output(self, int64_t job, uint32_t stream, bytes text not None):
        """Send output of the running job to the main rank, from another thread of this process.

        On a transport that allows no second thread, it is sent when the job has ended.

        Parameters
        ----------
        job : int
            The job.
        stream : int
            1 for stdout, 2 for stderr.
        text : bytes
            The output. A record of more than a few kilobytes is sent slowly.
        """
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(text)
        cdef uint64_t size = <uint64_t>PyBytes_GET_SIZE(text)
        cdef bint has_memory
        if self.has_thread:
            with nogil:  # the owner of the mutex may wait for the GIL
                pthread_mutex_lock(&self.mutex)
                has_memory = self.put_output(job, stream, data, size) and self.send_replies()
                pthread_mutex_unlock(&self.mutex)
        else:
            has_memory = self.put_output(job, stream, data, size)  # `poll_interrupts` has the GIL
        if not has_memory:
            raise MemoryError()

    cdef bint put_output(
        self, int64_t job, uint32_t stream, const uint8_t *data, uint64_t size
    ) noexcept nogil:
        """Add output to the replies; return False when memory is exhausted."""
        self.replies.note_time(self.channel.now())
        return self.replies.put_scalars(OUTPUT, job, stream, 0, 0, data, size) == 0

    cdef void after_progress(self) noexcept nogil:
        """Raise an interrupt of the running job, if that needs the GIL."""
        if self.running_job.needs_gil():
            with gil:
                self.running_job.deliver()

    cdef void progress(self) noexcept nogil:
        """Make progress while the worker runs a long job."""
        if not (
            self.check_processes()
            and (self.replies.may_wait(self.channel.now()) or self.send_replies())
            and self.receive_all(True)
        ):
            self.channel.fail(TRANSPORT_NO_MEMORY)

    cdef bint receive_all(self, bint busy) noexcept nogil:
        """Receive messages into the inbox; return False when memory is exhausted.

        Parameters
        ----------
        busy : bool
            Whether a job is running.
        """
        cdef message_t *m
        while True:
            m = self.channel.poll(self.run_id)
            if m == NULL:
                return True
            if not self.accept(m, busy):
                return False

    cdef bint accept(self, message_t *m, bint busy) noexcept nogil:
        """Add a message to the inbox; return False when memory is exhausted."""
        cdef cursor_t cursor
        cdef record_t record
        cdef const uint8_t *payload
        if cursor_open(&cursor, m.frame, m.frame_size) < 0:
            self.inbox.add(m)
            return True  # the reader of the inbox reports it
        if cursor.records_left == 1 and is_data(&cursor, &record):
            return (
                self.data.add_arrived(m)
                and self.replies.put_scalars(HAVE_DATA, record.id, 0, 0, 0, NULL, 0) == 0
            )
        self.inbox.add(m)
        while cursor_next(&cursor, &record, &payload) == 1:
            if record.kind == STOP:
                self.stop(&record)
            elif record.kind == SKIP:
                self.inbox.skip(record.id)
            elif record.kind == INTERRUPT:
                self.interrupt(&record, payload)
            elif record.kind in (SEND_DATA, DATA_LOST):
                if not self.accept_notice(&record):
                    return False
            elif record.kind == STEAL_REQUEST and not self.give_back_jobs(busy):
                return False
        return True

    cdef void stop(self, record_t *record) noexcept nogil:
        """Handle that the main rank has ended the run."""
        self.stopped = True
        self.channel.n_data_due += record.extra
        self.aborted = record.flags & STOP_ABORTED
        self.must_report = record.flags & (STOP_ABORTED | STOP_REPORTS)
        self.stop_code = record.id
        self.has_missed_deaths = record.flags & STOP_DEATHS
        if record.flags & STOP_INTERRUPTS:
            self.running_job.request(self.running_job.number, RUN_ENDED_INTERRUPT, NULL, 0)

    cdef void interrupt(self, record_t *record, const uint8_t *reason) noexcept nogil:
        """Interrupt a job, or mark it as skipped if it has not begun."""
        cdef int kind = <int>record.aux
        if not CANCEL_INTERRUPT <= kind <= RUN_ENDED_INTERRUPT:
            kind = CANCEL_INTERRUPT
        if not self.running_job.request(record.id, kind, reason, record.size):
            self.inbox.skip(record.id)

    cdef bint accept_notice(self, const record_t *record) noexcept nogil:
        """Send data to another worker, or note that data are lost; False: memory is exhausted."""
        if record.kind == DATA_LOST:
            return self.data.note_lost(record.id, record.aux)
        if record.aux < <uint32_t>self.channel.table.n_ranks:
            return self.data.serve(record.id, <int>record.aux)
        self.channel.fail(TRANSPORT_MALFORMED)
        return True

    cdef bint give_back_jobs(self, bint busy) noexcept nogil:
        """Answer a STEAL_REQUEST; return False when memory is exhausted.

        All jobs that have not begun are given back, except the first one if no job is running.
        Replies are sent, too: main has idle workers, and jobs may wait for those that have ended.
        """
        cdef job_iter_t it
        cdef bint keep_next = not (busy or self.inbox.is_starting)
        self.inbox.iterate(&it)
        while job_iter_next(&it):
            if it.record.kind == GANG_JOB:
                continue
            if keep_next:
                keep_next = False
                continue
            it.place[0] = STOLEN
            if self.replies.put_scalars(STEAL_RESPONSE, it.record.id, 0, 0, 0, NULL, 0) < 0:
                return False
        return self.send_replies()

    cdef bint send_replies(self) noexcept nogil:
        """Send the replies unless they have parts; return False when memory is exhausted."""
        cdef message_t *m
        if self.replies.frame.n_records == 0 or self.replies.frame.n_parts:
            return True  # parts need the GIL; the worker's thread is about to send them
        m = self.replies.seal_scalars(MAIN, self.run_id)
        if m == NULL:
            return False
        self.channel.send(m)
        return True

    cdef bint check_processes(self) noexcept nogil:
        """From time to time report processes that ended; return False when memory is exhausted."""
        cdef int64_t now = self.channel.now()
        cdef int rank
        if now - self.channel.processes_checked < CHECK_PROCESSES_NS:
            return True
        self.channel.processes_checked = now
        self.channel.process_monitor.begin_look(PROCESSES_PER_CHECK)
        rank = self.channel.process_monitor.next_dead()
        while rank >= 0:
            self.channel.mark_failed(rank)
            self.has_dead = True
            if rank != MAIN and self.replies.put_scalars(RANK_FAILED, rank, 0, 0, 0, NULL, 0) < 0:
                return False
            rank = self.channel.process_monitor.next_dead()
        return True


cdef bint is_data(const cursor_t *cursor, record_t *record) noexcept nogil:
    """Whether a frame of one record has data; read its record."""
    cdef cursor_t copy = cursor[0]
    cdef const uint8_t *payload
    return cursor_next(&copy, record, &payload) == 1 and record.kind == DATA
