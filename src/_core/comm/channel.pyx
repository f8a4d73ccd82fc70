"""The messages of one communicator, for the loops and for the life cycle of pools.

A channel puts together the messages sorted by run (`Demux`), waiting for them (`Waiter`) and which
ranks are there (`Membership`). It adds who uses the channel, and the shutdown handshake.
"""
from bsbpool._core.comm.demux cimport SHUTDOWN_RUN_ID, Demux
from bsbpool._core.comm.membership cimport Membership
from bsbpool._core.comm.transport cimport Transport, transport_now
from bsbpool._core.comm.waiter cimport Waiter
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.message cimport message_free, message_t
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()


class TransportError(RuntimeError):
    """The network between the ranks failed."""


cdef class Channel:
    """The messages of one communicator.

    Parameters
    ----------
    transport : Transport
        The network; the channel is its only user.
    crowded : bool
        Whether ranks share cores, so that polling takes a core from ranks that have work.
    wakeup : Wakeup, optional
        What wakes the ranks of this node.

    Attributes
    ----------
    transport : Transport
        As given.
    wakeup : Wakeup or None
        As given.
    process_monitor : ProcessMonitor
        The processes of the other ranks on this node. Set by the owner of the channel.
    lost : set of int
        Ranks that have failed or terminated.
    away : set of int
        Ranks that run a job of a run that has ended.
    terminated : set of int
        The lost ranks that have announced their shutdown.
    """

    def __init__(self, Transport transport not None, bint crowded=False, Wakeup wakeup=None):
        self.membership = Membership()
        self.demux = Demux(transport, self.membership)
        self.waiter = Waiter(self.demux, wakeup, crowded)
        self.wakeup = wakeup
        self.table = &transport.table

    @property
    def transport(self):
        return self.demux.transport

    @property
    def lost(self):
        return self.membership.lost

    @property
    def away(self):
        return self.membership.away

    @property
    def terminated(self):
        return self.membership.terminated

    # Runs

    def open(self):
        """Open a run and return its number. All ranks open runs in the same order.

        Raises
        ------
        RuntimeError
            While another thread executes a pool: the ranks could not agree on the order.
        """
        if self.in_use and self.owner_thread != PyThread_get_thread_ident():
            self.raise_in_use()
        return self.demux.open_run()

    def close(self, uint32_t run_id):
        """Close a run; its messages are dropped from now on."""
        self.demux.close_run(run_id)
        if not self.in_use:
            # No loop does this for a pool that is never executed.
            self.demux.drop_stale()
            self.release_sent()

    cdef int acquire(self) except -1:
        """Start to execute a run; only one at a time can receive messages."""
        if self.in_use:
            self.raise_in_use()
        self.in_use = True
        self.owner_thread = PyThread_get_thread_ident()
        return 0

    cdef int raise_in_use(self) except -1:
        raise RuntimeError(
            "Another pool of this communicator is executing, or an executor is open on it, around "
            "this call or in another thread; use one after the other, or one communicator for each"
        )

    cdef void release(self) noexcept:
        """End the execution of a run."""
        self.in_use = False

    cdef bint supports_threads(self) noexcept nogil:
        """Whether a second thread may use the channel while a job runs."""
        return self.table.threads

    # Receiving

    cdef message_t *poll(self, uint32_t run_id) noexcept nogil:
        """Return the next message of a run, or NULL when none has arrived."""
        return self.demux.poll(run_id)

    cdef message_t *wait(self, uint32_t run_id, int64_t until_ns) noexcept nogil:
        """Wait for a message of a run; return NULL at the time `until_ns` or after a `wake`."""
        return self.waiter.wait(run_id, until_ns)

    cdef void backoff_wait(self) noexcept nogil:
        """Wait a little, longer each time until a message has arrived."""
        self.waiter.backoff_wait()

    def drop_stale(self):
        """Receive what has arrived, and drop messages of runs that are closed."""
        self.demux.drop_stale()
        self.check()

    def wake(self):
        """End a wait of the thread that executes a run, from any thread."""
        self.wake_nogil()

    cdef void wake_nogil(self) noexcept nogil:
        self.waiter.wake()

    cdef int64_t now(self) noexcept nogil:
        """Return the time in ns."""
        return transport_now(self.table)

    # Sending

    cdef int send(self, message_t *m) noexcept nogil:
        """Send a message, which the channel then owns, and wake its receiver."""
        cdef int peer = m.peer
        cdef int code = self.demux.send(m)
        if code >= 0 and self.wakeup is not None:
            self.wakeup.notify(peer)
        return code

    cdef int post(self, message_t *m) except -1:
        """Send a message, which the channel then owns; raise when the network failed."""
        self.send(m)
        self.check()
        return 0

    cdef int pending(self) noexcept nogil:
        """Return how many sends are not complete."""
        return self.demux.pending()

    cdef int release_sent(self) except -1:
        """Release the messages whose sends are complete."""
        cdef message_t *m
        while True:
            m = self.demux.next_sent()
            if m == NULL:
                return 0
            if m.pinned != NULL:
                Py_DECREF(<object>m.pinned)
            message_free(m)

    def drain(self, double seconds):
        """Wait at most `seconds` for all sends to complete; return whether they have."""
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while self.pending() and self.now() < end:
            with nogil:
                self.demux.drop_stale()
                self.backoff_wait()
            self.release_sent()
            self.next_lost()  # sends to a lost rank are given up
        self.waiter.reset()
        return self.pending() == 0

    cdef int check(self) except -1:
        """Raise when the network failed."""
        if self.demux.error < 0:
            raise TransportError(
                f"The communication between the ranks failed (code {self.demux.error})"
            )
        return 0

    cdef void fail(self, int code) noexcept nogil:
        """Let `check` raise, in the thread that executes the run."""
        self.demux.error = code

    # Failures, and ranks that are away

    def report_failure(self, int rank):
        """Mark a rank as failed, though MPI has not reported it."""
        self.mark_failed(rank)

    cdef void mark_failed(self, int peer) noexcept nogil:
        """Mark a rank as failed."""
        self.demux.mark_failed(peer)

    cdef int next_lost(self) except -2:
        """Return a rank that was lost since the last call, or -1."""
        cdef int peer = self.demux.next_lost()
        if peer >= 0:
            self.membership.record_loss(peer)
        return peer

    def mark_away(self, int rank, uint32_t run_id):
        """Note that a rank runs a job of the run `run_id`, which has ended."""
        self.membership.mark_away(rank, run_id)

    def await_returns(self, double seconds):
        """Wait at most `seconds` for the ranks that are away; return those that still are."""
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while True:
            self.demux.drop_stale()
            while self.membership.next_return() >= 0 or self.next_lost() >= 0:
                pass
            if not self.membership.away or self.now() > end:
                self.waiter.reset()
                return sorted(self.membership.away)
            with nogil:
                self.backoff_wait()

    cdef uint64_t *begun_slot(self) noexcept nogil:
        """Return where this rank notes the job that it begins, for other ranks to read."""
        return &self.begun if self.wakeup is None else self.wakeup.begun_slot()

    cdef uint32_t *signal_slot(self) noexcept nogil:
        """Return where this rank notes the signal that kills it."""
        return &self.signal if self.wakeup is None else self.wakeup.signal_slot()

    cdef int64_t begun_by(self, int peer, uint32_t run_id) noexcept nogil:
        """Return the job of a run that a rank began last; -2 for none, -1 if unknown."""
        return -1 if self.wakeup is None else self.wakeup.begun_by(peer, run_id)

    # The shutdown handshake

    def announce_shutdown(self, peers):
        """Send ranks the last message of this rank; they count it as lost afterwards."""
        cdef message_t *m
        for peer in peers:
            m = FrameWriter().seal_scalars(peer, SHUTDOWN_RUN_ID)
            if m == NULL:
                raise MemoryError()
            self.send(m)

    def await_shutdowns(self, peers, double seconds):
        """Wait at most `seconds` for the last messages of ranks; return whether all came.

        A message that is not received before a communicator is freed could be received on the next
        communicator, to which MPI gives the same context.
        """
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        cdef message_t *m
        missing = set(peers)
        while missing and self.now() < end:
            m = self.poll(SHUTDOWN_RUN_ID)
            if m != NULL:
                missing.discard(m.peer)
                message_free(m)
                continue
            self.release_sent()
            self.next_lost()
            missing -= self.membership.lost
            with nogil:
                self.backoff_wait()
        self.waiter.reset()
        return not missing

    cdef int handle_shutdowns(self) except -1:
        """Mark ranks that have announced their shutdown as failed: this run counts on them."""
        cdef message_t *m = self.demux.take_shutdown()
        while m != NULL:
            self.mark_failed(m.peer)
            self.membership.terminated.add(m.peer)
            message_free(m)
            m = self.demux.take_shutdown()
        return 0
