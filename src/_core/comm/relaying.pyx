"""The part of a channel for messages that leaders relay, see `relay`."""
from bsbpool._core.comm.demux cimport Demux
from bsbpool._core.comm.relay cimport RelayTransport
from bsbpool._core.comm.relay_thread cimport RelayThread
from bsbpool._core.comm.transport cimport Transport, transport_now
from bsbpool._core.comm.waiter cimport Waiter
from bsbpool._core.protocol.frames cimport FrameWriter
from libc.stdint cimport int64_t, uint32_t

cdef enum:
    CONFIRM_NS = 20_000_000
    MAIN = 0


cdef class Relaying:
    """Messages that leaders relay, on one rank.

    Without a `RelayTransport` nothing is relayed, and all methods but `set_leaders` do nothing.

    Parameters
    ----------
    demux : Demux
        The messages of the communicator.
    waiter : Waiter
        Waits for them.

    Attributes
    ----------
    choice : object
        A note of the caller of `set_leaders`, None when these leaders are not in use any more.
    """

    def __init__(self, Demux demux not None, Waiter waiter not None):
        self.demux, self.waiter = demux, waiter
        self.relay = demux.transport if isinstance(demux.transport, RelayTransport) else None
        self.leaders = {}

    def set_leaders(self, leaders):
        """Set the ranks that relay messages to and from workers, on main.

        Parameters
        ----------
        leaders : dict of int to int
            The leader of each worker that has one, see `RelayTransport.set_leaders`.
        """
        if leaders == self.leaders:
            return
        if self.relay is None:
            raise ValueError("the transport of this channel relays no messages")
        self.relay.set_leaders(leaders)
        self.leaders = leaders

    @property
    def partners(self):
        """The leaders and the workers with which this rank has exchanged relayed messages."""
        return set() if self.relay is None else self.relay.relay_partners

    @property
    def is_possible(self):
        """Whether messages can be relayed: that needs a transport that several threads can use."""
        return self.relay is not None and bool(self.relay.table.threads)

    def stop_thread(self):
        """End the thread that relays messages, before the transport is freed."""
        if self.thread is not None:
            self.thread.stop()

    cdef Transport network(self):
        """Return the transport below."""
        return self.demux.transport if self.relay is None else self.relay.base

    cdef int start_thread(self) noexcept:
        """On a leader, let a thread relay the messages that arrive while the rank does not poll."""
        if self.relay is None or self.thread is not None or not self.relay.relay.is_leader:
            return 0
        if self.relay.table.threads:
            self.thread = RelayThread(self.demux, self.relay)
        return 0

    cdef int confirm(self, uint32_t run_id) except -1:
        """Confirm the messages of main that a leader has relayed, with an empty message."""
        if self.relay is not None and self.relay.has_leader():
            self.demux.send(FrameWriter().seal(MAIN, run_id))
        return 0

    cdef int await_confirmations(self) except -1:
        """Send again, directly, the messages that workers do not confirm within a short time.

        Their leader may have died, and this rank may not receive again, so that it would not know.
        """
        cdef int64_t end
        if self.relay is None or self.relay.all_confirmed():
            return 0
        end = transport_now(self.demux.table) + CONFIRM_NS
        while not self.relay.all_confirmed():
            if transport_now(self.demux.table) > end:
                return self.stop()
            with nogil:
                self.demux.receive_unread()
                self.waiter.backoff_wait()
        self.waiter.reset()
        return 0

    cdef int stop(self) except -1:
        """Send messages directly from now on, also those that leaders may not have relayed."""
        cdef int code
        if self.relay is not None:
            self.demux.lock()
            code = self.relay.stop_relaying()
            self.demux.unlock()
            if code < 0:
                self.demux.error = code
            self.leaders = self.choice = None
        return 0
