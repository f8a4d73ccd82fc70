"""Receiving the messages of the main rank, and answering those that cannot wait.

Most records are read in order, by `WorkerLoop`. STOP, SKIP and STEAL_REQUEST take effect as soon as
they arrive. So all of this needs no GIL and runs in two threads: in the worker's thread, and in the
progress thread while the worker runs a long job. The progress thread also sends waiting replies.
"""
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport (
    RANK_FAILED,
    SKIP,
    STEAL_REQUEST,
    STEAL_RESPONSE,
    STOP,
    STOP_ABORTED,
    cursor_next,
    cursor_open,
    cursor_t,
    record_t,
)
from bsbpool._core.runtime.inbox cimport STOLEN, Inbox, job_iter_next, job_iter_t
from bsbpool._core.runtime.progress_thread cimport ProgressThread
from bsbpool._core.runtime.reply_buffer cimport ReplyBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    CHECK_PROCESSES_NS = 500_000_000


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
    """

    def __init__(self, Channel channel not None, uint32_t run_id):
        self.channel = channel
        self.run_id = run_id
        self.inbox = Inbox()
        self.replies = ReplyBuffer()

    def detach_progress_thread(self):
        """Forget the progress thread, in a forked child, where it does not exist."""
        self.has_thread = False  # the mutex may stay locked forever

    def make_progress(self):
        """Do what the progress thread would do, on a transport that allows no second thread."""
        self.progress()

    cdef void progress(self) noexcept nogil:
        """Make progress while the worker runs a long job."""
        if not (self.check_processes() and self.send_replies() and self.receive_all(True)):
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
        self.inbox.add(m)
        if cursor_open(&cursor, m.frame, m.frame_size) < 0:
            return True  # the reader of the inbox reports it
        while cursor_next(&cursor, &record, &payload) == 1:
            if record.kind == STOP:
                self.stopped = True
                self.aborted = record.flags & STOP_ABORTED
                self.stop_code = record.id
            elif record.kind == SKIP:
                self.inbox.skip(record.id)
            elif record.kind == STEAL_REQUEST and not self.give_back_jobs(busy):
                return False
        return True

    cdef bint give_back_jobs(self, bint busy) noexcept nogil:
        """Answer a STEAL_REQUEST; return False when memory is exhausted.

        All jobs that have not begun are given back, except the first one if no job is running.
        """
        cdef job_iter_t it
        cdef bint keep_next = not (busy or self.inbox.is_starting)
        cdef bint any_stolen = False
        self.inbox.iterate(&it)
        while job_iter_next(&it):
            if keep_next:
                keep_next = False
                continue
            it.place[0] = STOLEN
            any_stolen = True
            if self.replies.put_scalars(STEAL_RESPONSE, it.record.id, 0, 0, 0, NULL, 0) < 0:
                return False
        return not any_stolen or self.send_replies()

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
        if now - self.processes_checked < CHECK_PROCESSES_NS:
            return True
        self.processes_checked = now
        rank = self.channel.process_monitor.next_dead()
        while rank >= 0:
            self.channel.mark_failed(rank)
            if rank != MAIN and self.replies.put_scalars(RANK_FAILED, rank, 0, 0, 0, NULL, 0) < 0:
                return False
            rank = self.channel.process_monitor.next_dead()
        return True
