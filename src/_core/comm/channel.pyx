"""The messages of one communicator, for the loops and for the life cycle of pools.

A channel joins a `Demux`, which sorts messages by run, a `Waiter`, and a `Membership`, which knows
the ranks that cannot run jobs. It adds two things: only one thread at a time executes a run
(`acquire`), and ranks announce that they send no more messages (`announce_shutdown`).

The channel lives as long as the communicator. Its Python methods are called in this order, most of
them by the runs of pools (`bsbpool.execution`), the last ones by `bsbpool.services.channels`:

1. `open_run` and `close_run`, once for each pool. In between, a loop may execute the run.
2. `announce_shutdown`, `await_shutdowns` and `drain`, before the communicator is freed. At the end
   of the process only `announce_shutdown` and `drain`.
"""
from bsbpool._core.comm.demux cimport SHUTDOWN_RUN_ID, Demux
from bsbpool._core.comm.membership cimport Membership
from bsbpool._core.comm.process_monitor cimport ProcessMonitor
from bsbpool._core.comm.relaying cimport Relaying
from bsbpool._core.comm.transport cimport (
    TRANSPORT_MALFORMED,
    TRANSPORT_NO_MEMORY,
    Transport,
    transport_now,
)
from bsbpool._core.comm.waiter cimport Waiter
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.message cimport message_free, message_t
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "Python.h":
    unsigned long PyThread_get_thread_ident()


cdef enum:
    DATA_NS = 100_000_000  # how long data of an aborted run are waited for


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
        Wakes the ranks of this node.
    process_monitor : ProcessMonitor, optional
        The processes of the other ranks on this node; none by default.

    Attributes
    ----------
    transport : Transport
        As given; of a `RelayTransport` the network below it.
    wakeup : Wakeup or None
        As given.
    process_monitor : ProcessMonitor
        As given.
    relaying : Relaying
        Messages that leaders relay.
    hosts : tuple of str
        The name of each rank's host, on rank 0; empty if they are not known.
    remote : bytes
        For each worker, 1 if it is on another host than rank 0, else 0; empty if none is.
    lost : set of int
        Ranks that have failed or terminated.
    away : set of int
        Ranks that run a job of a run that has ended.
    terminated : set of int
        Ranks that have announced their shutdown during a run of this rank.
    """

    def __init__(
        self, Transport transport not None, bint crowded=False, Wakeup wakeup=None,
        ProcessMonitor process_monitor=None,
    ):
        self.membership = Membership()
        self.demux = Demux(transport, self.membership)
        self.waiter = Waiter(self.demux, wakeup, crowded)
        self.relaying = Relaying(self.demux, self.waiter)
        self.wakeup = wakeup
        self.process_monitor = ProcessMonitor({}) if process_monitor is None else process_monitor
        self.table = &transport.table
        self.hosts = ()

    @property
    def transport(self):
        return self.relaying.network()

    @property
    def hosts(self):
        return self.host_names

    @hosts.setter
    def hosts(self, tuple names not None):
        cdef bytes remote = bytes([name != names[0] for name in names[1:]])
        self.host_names = names
        self.remote = remote if 1 in remote else b""

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

    def open_run(self):
        """Open a run and return its number. All ranks open runs in the same order.

        Raises
        ------
        RuntimeError
            While another thread executes a pool: the ranks could not agree on the order.
        """
        if self.in_use and self.owner_thread != PyThread_get_thread_ident():
            self.raise_in_use()
        return self.demux.open_run()

    def close_run(self, uint32_t run_id):
        """Close a run; its messages are dropped from now on."""
        self.demux.close_run(run_id)
        if not self.in_use:
            # A loop that executes another run receives and releases messages itself.
            self.demux.receive_unread()
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
        self.relaying.start_thread()  # messages for other ranks may still arrive

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

    def receive_unread(self):
        """Receive the messages that have arrived, while no run is executed.

        Messages of closed runs are dropped. Those of other runs are kept until the run polls.

        Raises
        ------
        TransportError
            If the network failed.
        """
        self.demux.receive_unread()
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
        if code >= 0 and self.wakeup is not None and not self.table.wakes:
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
        """Wait at most `seconds` for all sends to complete; return whether they have.

        Messages are received meanwhile, since a receiver may be waiting for its own sends. Those
        with data, which other workers send, are waited for a short time.
        """
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        cdef int64_t end_of_data = min(end, self.now() + DATA_NS)
        while (
            (self.demux.n_data < self.n_data_due and self.now() < end_of_data)
            or (self.pending() and self.now() < end)
        ):
            with nogil:
                self.demux.receive_unread()
                self.backoff_wait()
            self.release_sent()
            self.update_membership()  # sends to a lost rank are no longer pending
        self.waiter.reset()
        return self.pending() == 0

    cdef int check(self) except -1:
        """Raise when the network failed."""
        cdef int code = self.demux.error
        if code >= 0:
            return 0
        if code == TRANSPORT_NO_MEMORY:
            reason = "memory is exhausted"
        elif code == TRANSPORT_MALFORMED:
            reason = "a malformed message was received"
        else:
            reason = f"error {-code} of the network; for MPI, MPI_Error_string describes it"
        raise TransportError(f"The communication between the ranks failed: {reason}")

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

    cdef int take_lost(self) except -2:
        """Return a rank that was lost since the last call and add it to `lost`; -1 if none was."""
        cdef int peer = self.demux.next_lost()
        if peer >= 0:
            self.membership.record_loss(peer)
        return peer

    cdef int update_membership(self) except -1:
        """Update `lost` and `away`, outside of a run, where no loop handles each change."""
        while self.take_lost() >= 0 or self.membership.take_return() >= 0:
            pass
        return 0

    def mark_away(self, int rank, uint32_t run_id):
        """Note that a rank runs a job of the run `run_id`, which has ended."""
        self.membership.mark_away(rank, run_id)

    def await_returns(self, double seconds):
        """Wait at most `seconds` for the ranks that are away; return those that still are."""
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while True:
            self.demux.receive_unread()
            self.update_membership()
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
        """Send ranks the last message of this rank: a frame of the run SHUTDOWN_RUN_ID.

        A rank that is executing a run then counts this rank as lost. Others keep the message until
        `await_shutdowns` or their next run.
        """
        cdef FrameWriter writer = FrameWriter()
        cdef message_t *m
        for peer in peers:
            m = writer.seal_scalars(peer, SHUTDOWN_RUN_ID)
            if m == NULL:
                raise MemoryError()
            self.send(m)

    def await_shutdowns(self, peers, double seconds):
        """Wait at most `seconds` for the last messages of ranks.

        A message that is not received before a communicator is freed could be received on the next
        communicator, to which MPI gives the same context id. MPI keeps the order of messages, so
        after its last message nothing more arrives from a rank. Data can also come from ranks
        other than `peers`; their messages are counted.

        Returns
        -------
        bool
            Whether each of `peers` has sent its last message or is lost, and all data have arrived.
        """
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        cdef message_t *m
        missing = set(peers)
        while (missing or self.data_missing()) and self.now() < end:
            m = self.poll(SHUTDOWN_RUN_ID)
            if m != NULL:
                missing.discard(m.peer)
                message_free(m)
                continue
            self.release_sent()
            self.update_membership()
            missing -= self.membership.lost
            with nogil:
                self.backoff_wait()
        self.waiter.reset()
        return not missing and not self.data_missing()

    cdef bint data_missing(self) except -1:
        """Whether data of runs that have ended are still to arrive."""
        return self.demux.n_data < self.n_data_due and not self.membership.lost

    def await_data(self, double seconds):
        """Wait at most `seconds` for the data that other workers have sent to this rank.

        A large message is not sent completely before it is received.
        """
        cdef int64_t end = self.now() + <int64_t>(seconds * 1e9)
        while self.data_missing() and self.now() < end:
            self.demux.receive_unread()
            self.release_sent()
            self.update_membership()
            with nogil:
                self.backoff_wait()
        self.waiter.reset()

    cdef int fail_terminated(self) except -1:
        """Mark ranks that have announced their shutdown as failed: they cannot finish this run."""
        cdef message_t *m = self.demux.take_shutdown()
        while m != NULL:
            self.mark_failed(m.peer)
            self.membership.terminated.add(m.peer)
            message_free(m)
            m = self.demux.take_shutdown()
        return 0
