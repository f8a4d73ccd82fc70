"""A transport that can relay the messages between main (rank 0) and workers through leaders.

Main chooses a leader for each worker, or none (`set_leaders`). Instead of one message to each
worker, it sends one *bundle* to each leader in a round of its loop. The leader sends the messages
on to its workers, and collects those of its workers for main. It sends main the next bundle when
main has sent it a message since the last one, or some milliseconds later, so bundles grow while
main is busy. A worker answers on the way on which main's last message came. So only main has to
know the leaders.

Messages with parts are sent directly, since copying large data twice takes long. Messages between
main and a worker are numbered, so that they are returned in order whichever way they came
(`relay_streams`). If a leader is lost, main and its workers send each other directly all messages
that the receiver has not confirmed. Messages between workers, and the last message of a rank, are
not relayed and have no number.

If a worker is lost, main first asks its leader to confirm that it has relayed all messages of this
worker: `next_lost` returns a rank after all of its messages were returned.
"""
from bsbpool._core.comm.demux cimport SHUTDOWN_RUN_ID
from bsbpool._core.comm.relay_bundles cimport (
    IS_LOST,
    IS_RELAYED,
    MAIN,
    SHORTEST_HOLD_NS,
    flush_bundles,
    note_error,
    relay_t,
    send_numbered,
    stream_of,
    transmit,
)
from bsbpool._core.comm.relay_losses cimport collect_lost, resend_unconfirmed
from bsbpool._core.comm.relay_losses cimport stop_relaying as relay_stop
from bsbpool._core.comm.relay_messages cimport receive_messages
from bsbpool._core.comm.relay_messages cimport relay_arrived as relay_all_arrived
from bsbpool._core.comm.relay_streams cimport header_of, stream_t
from bsbpool._core.comm.transport cimport Transport, transport_now, transport_sleep, transport_t
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.message_queue cimport queue_free, queue_pop
from bsbpool._core.protocol.wire cimport frame_free
from bsbpool._core.vector cimport ints_free
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

# ------------------------------------------------------------------ the table of functions

cdef int relay_send(transport_t *t, message_t *m) noexcept nogil:
    cdef relay_t *r = <relay_t *>t.self
    if (r.rank == MAIN or m.peer == MAIN) and header_of(m).run_id != SHUTDOWN_RUN_ID:
        return send_numbered(r, m)
    return transmit(r, m)


cdef message_t *relay_poll(transport_t *t, int *error) noexcept nogil:
    cdef relay_t *r = <relay_t *>t.self
    if r.ready.first == NULL:
        receive_messages(r)
    if r.error < 0:
        error[0] = r.error
    return queue_pop(&r.ready)


cdef message_t *relay_sent(transport_t *t) noexcept nogil:
    cdef relay_t *r = <relay_t *>t.self
    if r.unsent.size and r.rank == MAIN:  # at the end of a round of its loop
        note_error(r, flush_bundles(r))
    return r.net.sent(r.net)


cdef int relay_pending(transport_t *t) noexcept nogil:
    cdef relay_t *r = <relay_t *>t.self
    note_error(r, flush_bundles(r))
    return r.net.pending(r.net)


cdef bint relay_is_active(transport_t *t) noexcept nogil:
    cdef relay_t *r = <relay_t *>t.self
    return r.n_confirming > 0 or r.hold_until > 0 or r.net.is_active(r.net)


cdef int relay_next_lost(transport_t *t) noexcept nogil:
    cdef relay_t *r = <relay_t *>t.self
    collect_lost(r)
    if r.ready.first != NULL or r.lost.size == 0:
        return -1
    r.lost.size -= 1
    return r.lost.data[r.lost.size]


cdef void relay_mark_failed(transport_t *t, int peer) noexcept nogil:
    cdef relay_t *r = <relay_t *>t.self
    r.net.mark_failed(r.net, peer)


cdef int64_t relay_now(transport_t *t) noexcept nogil:
    return transport_now((<relay_t *>t.self).net)


cdef void relay_sleep(transport_t *t, int64_t ns) noexcept nogil:
    transport_sleep((<relay_t *>t.self).net, ns)


# ------------------------------------------------------------------ the class

cdef class RelayTransport(Transport):
    """The network of a communicator, with messages relayed by leaders if main says so.

    Parameters
    ----------
    base : Transport
        The network below. This object is its only user.
    rank : int
        The rank of this process.
    wakeup : Wakeup, optional
        Wakes the ranks of this node.

    Attributes
    ----------
    base : Transport
        As given.
    rank : int
        As given.
    is_leader : bool
        Whether this rank has relayed messages.
    """

    def __init__(self, Transport base not None, int rank, Wakeup wakeup=None):
        cdef int n = base.table.n_ranks if rank == MAIN else 1
        cdef int i
        if self.relay.streams != NULL:
            raise RuntimeError("a RelayTransport can be initialized only once")
        if not 0 <= rank < base.table.n_ranks:
            raise ValueError(f"rank must be from 0 to {base.table.n_ranks - 1}, got {rank}")
        self.base, self.wakeup = base, wakeup
        self.relay.net = &base.table
        self.relay.wakeup = NULL if wakeup is None else <void *>wakeup
        self.relay.rank = rank
        self.relay.streams = <stream_t *>calloc(n, sizeof(stream_t))
        if self.relay.streams == NULL:
            raise MemoryError()
        for i in range(n):
            self.relay.streams[i].leader = -1
        self.relay.is_answered = True
        self.relay.hold_ns = SHORTEST_HOLD_NS
        self.table.self = &self.relay
        self.table.n_ranks = base.table.n_ranks
        self.table.send = relay_send
        self.table.poll = relay_poll
        self.table.sent = relay_sent
        self.table.pending = relay_pending
        self.table.is_active = relay_is_active
        self.table.next_lost = relay_next_lost
        self.table.mark_failed = relay_mark_failed
        if base.table.now != NULL:
            self.table.now = relay_now
        if base.table.sleep != NULL:
            self.table.sleep = relay_sleep
        self.table.threads = base.table.threads
        self.table.wakes = True

    def __dealloc__(self):
        cdef message_t *m
        cdef stream_t *stream
        cdef int i
        if self.relay.streams == NULL:
            return
        for i in range(self.table.n_ranks if self.relay.rank == MAIN else 1):
            stream = &self.relay.streams[i]
            queue_free(&stream.unconfirmed)
            while stream.early != NULL:
                m = stream.early
                stream.early = m.next
                message_free(m)
            if stream.bundle != NULL:
                frame_free(stream.bundle)
                free(stream.bundle)
        queue_free(&self.relay.ready)
        ints_free(&self.relay.leaders)
        ints_free(&self.relay.unsent)
        ints_free(&self.relay.lost)
        free(self.relay.peers)
        free(self.relay.streams)

    @property
    def rank(self):
        return self.relay.rank

    @property
    def is_leader(self):
        return bool(self.relay.is_leader)

    def set_leaders(self, leaders):
        """Set the ranks that relay the messages to the workers, on main.

        Parameters
        ----------
        leaders : mapping of int to int
            The leader of each worker that has one. The rank of a leader is lower than those of its
            workers, and it has no leader itself.
        """
        if self.relay.rank != MAIN:
            raise RuntimeError(f"only rank 0 sets leaders, and this is rank {self.relay.rank}")
        for worker, leader in leaders.items():
            if not 0 < leader < worker < self.table.n_ranks or leader in leaders:
                raise ValueError(f"rank {leader} cannot relay messages to rank {worker}")
        for worker in range(1, self.table.n_ranks):
            self.set_leader(worker, leaders.get(worker, -1))

    cdef int set_leader(self, int worker, int leader) except -1:
        cdef stream_t *stream = &self.relay.streams[worker]
        if leader >= 0 and self.relay.peers != NULL and self.relay.peers[leader] & IS_LOST:
            leader = -1
        if not stream.is_confirming and stream.leader != leader:
            stream.leader = leader
            if resend_unconfirmed(&self.relay, stream) < 0:  # the old leader may be lost later
                raise MemoryError()
        if leader >= 0:
            self.relay.streams[leader].leads = True
        return 0

    def leader_of(self, int worker):
        """Return the rank that relays messages between main and a worker; None if none does."""
        if self.relay.rank != MAIN and worker != self.relay.rank:
            raise ValueError(f"rank {self.relay.rank} knows only its own leader")
        leader = stream_of(&self.relay, worker).leader
        return None if leader < 0 else leader

    @property
    def relay_partners(self):
        """The leaders and the workers with which this rank has exchanged relayed messages."""
        partners = {self.relay.leaders.data[i] for i in range(self.relay.leaders.size)}
        if self.relay.peers != NULL:
            for peer in range(self.table.n_ranks):
                if self.relay.peers[<int>peer] & IS_RELAYED:
                    partners.add(peer)
        return partners

    cdef bint has_leader(self) noexcept nogil:
        """Whether this worker has a leader."""
        return self.relay.rank != MAIN and self.relay.streams[0].leader >= 0

    cdef bint all_confirmed(self) noexcept nogil:
        """Whether all messages that were relayed have been confirmed."""
        return self.relay.n_unconfirmed == 0

    cdef int stop_relaying(self) noexcept nogil:
        """Send messages directly from now on; return 0 or an error."""
        return relay_stop(&self.relay)

    cdef bint relay_arrived(self) noexcept nogil:
        """Relay the messages that have arrived, for a rank that does not poll.

        Its own messages are kept for `poll`. Returns whether there were any messages.
        """
        return relay_all_arrived(&self.relay)
