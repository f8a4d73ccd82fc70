"""A simulated network between the ranks of a `TurnScheduler`: messages, delays and deaths.

The delay of each message is random, but messages from one rank to another keep their order. Sends
and polls are steps, at which a rank may die. It may also die while it sends a message with parts.
Of the messages that a dead rank had sent, a chosen number arrives.
"""
from bsbpool._core.testing.deterministic_scheduler cimport (
    RECEIVED,
    SENT,
    TurnScheduler,
    can_report,
    end_report_delay,
    is_stopped,
    kill_rank,
    next_random,
    rank_t,
    record_change,
    report_death,
    simulation_t,
    sleep_until,
    take_step,
    time_of,
)
from bsbpool._core.testing.inprocess_transport cimport append, pop, release, take_copy
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY, Transport, transport_t
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

cdef enum:
    RANK_STOPPED = -103  # the rank itself has died, or the simulation was halted
    UNKNOWN_RANK = -102
    LONG_SLEEP_NS = 200_000  # longer sleeps may end late
    MAX_LATE_NS = 4_000_000
    SLOW_FACTOR = 64  # one of 32 messages takes this many times as long


# ------------------------------------------------------------------ messages

cdef int deliver_later(endpoint_t *target, message_t *m) noexcept nogil:
    """Add a message to the inbox of its receiver, due after a random delay; -1: no memory."""
    cdef network_t *network = target.network
    cdef simulation_t *s = target.rank.simulation
    cdef in_flight_t **link = &target.inbox
    cdef in_flight_t *in_flight = <in_flight_t *>calloc(1, sizeof(in_flight_t))
    cdef int64_t delay = 1 + <int64_t>(next_random(s) % <uint64_t>network.latency)
    if in_flight == NULL:
        return -1
    in_flight.message = m
    in_flight.due = s.clock + (delay if next_random(s) & 31 else delay * SLOW_FACTOR)
    if not network.reorders:
        in_flight.due = max(in_flight.due, target.latest_due[m.peer])
    target.latest_due[m.peer] = in_flight.due
    while link[0] != NULL and link[0].due <= in_flight.due:
        link = &link[0].next
    in_flight.next = link[0]
    link[0] = in_flight
    # One of 32 wakeups is missed, which must only delay the message.
    if network.wakeup and target.rank.asleep and next_random(s) & 31:
        target.rank.wake_at = min(target.rank.wake_at, in_flight.due)
    return 0


cdef message_t *unlink(in_flight_t **link) noexcept nogil:
    """Remove a message from an inbox and return it."""
    cdef in_flight_t *in_flight = link[0]
    cdef message_t *m = in_flight.message
    link[0] = in_flight.next
    free(in_flight)
    return m


cdef void return_to_sender(network_t *network, in_flight_t **link) noexcept nogil:
    """Remove a message that does not arrive. Its sender owns the parts and must release them."""
    cdef message_t *m = unlink(link)
    append(&network.endpoints[m.peer].sent, m)


cdef bint has_in_flight(endpoint_t *e, int source) noexcept nogil:
    """Whether a message from `source` is in flight to an endpoint."""
    cdef in_flight_t *in_flight = e.inbox
    while in_flight != NULL and in_flight.message.peer != source:
        in_flight = in_flight.next
    return in_flight != NULL


cdef void discard_undelivered(endpoint_t *dead, in_flight_t **link) noexcept nogil:
    """Remove the messages of a dead rank from an inbox, except the first `n_delivered`."""
    cdef int left = dead.n_delivered
    while link[0] != NULL:
        if link[0].message.peer == dead.rank.number:
            if left == 0:
                return_to_sender(dead.network, link)
                continue
            left -= left > 0
        link = &link[0].next


# ------------------------------------------------------------------ the table

cdef int simulated_send(transport_t *t, message_t *m) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef rank_t *r = e.rank
    cdef int target = m.peer
    m.peer = r.number
    if not take_step(r):
        append(&e.sent, m)
        return RANK_STOPPED
    if not 0 <= target < r.simulation.n:
        append(&e.sent, m)
        return UNKNOWN_RANK
    record_change(r.simulation, r.number, SENT)
    e.parts_until_death -= m.n_parts > 0 and e.parts_until_death >= 0
    if r.simulation.ranks[target].dead or (m.n_parts and e.parts_until_death == 0):
        append(&e.sent, m)
    elif deliver_later(&e.network.endpoints[target], m) < 0:
        append(&e.sent, m)
        return TRANSPORT_NO_MEMORY
    if m.n_parts and e.parts_until_death == 0:
        kill_rank(r)
    return 0 if take_step(r) else RANK_STOPPED


cdef message_t *simulated_poll(transport_t *t, int *error) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef rank_t *r = e.rank
    cdef message_t *m
    cdef message_t *copy
    if not take_step(r):
        error[0] = RANK_STOPPED
        return NULL
    if e.inbox == NULL or e.inbox.due > r.simulation.clock:
        return NULL
    m = unlink(&e.inbox)
    record_change(r.simulation, r.number, RECEIVED)
    if m.n_parts == 0:
        return m
    copy = take_copy(m)  # only now, to detect senders that free or change parts too early
    append(&e.network.endpoints[m.peer].sent, m)
    if copy == NULL:
        error[0] = TRANSPORT_NO_MEMORY
    return copy


cdef message_t *simulated_sent(transport_t *t) noexcept nogil:
    return pop(&(<endpoint_t *>t.self).sent)


cdef int simulated_pending(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef rank_t *r = e.rank
    cdef in_flight_t *in_flight
    cdef int n = 0
    cdef int i
    cdef bint is_sending
    if is_stopped(r):
        return 0  # so that it does not wait for its sends
    for i in range(r.simulation.n):
        in_flight = e.network.endpoints[i].inbox
        while in_flight != NULL:
            if in_flight.message.peer == r.number:
                is_sending = e.network.slow_sends and in_flight.due > r.simulation.clock
                n += in_flight.message.n_parts > 0 or is_sending
            in_flight = in_flight.next
    return n


cdef bint simulated_is_active(transport_t *t) noexcept nogil:
    return simulated_pending(t) > 0


cdef int simulated_next_lost(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef rank_t *r = e.rank
    cdef int i
    if is_stopped(r):
        return -1
    for i in range(r.simulation.n):
        if can_report(r, i) and (e.network.reports_early or not has_in_flight(e, i)):
            report_death(r, i)
            return i
    return -1


cdef void simulated_mark_failed(transport_t *t, int peer) noexcept nogil:
    end_report_delay((<endpoint_t *>t.self).rank.simulation, peer)


cdef int64_t simulated_now(transport_t *t) noexcept nogil:
    return time_of((<endpoint_t *>t.self).rank)


cdef void simulated_sleep(transport_t *t, int64_t ns) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef simulation_t *s = e.rank.simulation
    cdef int64_t wake_at = s.clock + max(1, ns)
    if is_stopped(e.rank):
        return
    if not e.network.wakeup and ns > LONG_SLEEP_NS:
        wake_at += min(<int64_t>(next_random(s) % 8) * ns, MAX_LATE_NS)
    elif e.network.wakeup and e.inbox != NULL:
        wake_at = min(wake_at, e.inbox.due)
    sleep_until(e.rank, wake_at)


# ------------------------------------------------------------------ the Python classes

cdef class SimulatedNetwork(TurnScheduler):
    """A network between `n` ranks that run in turns.

    Parameters
    ----------
    n, seed, preempt : int
        As of `TurnScheduler`.
    latency : int
        The longest delay of a message in ns; one of 32 messages takes 64 times as long.
    wakeup : bool
        Whether a message wakes its receiver.
    slow_sends : bool
        Whether the send of a message without parts is complete only when the message arrives.
    """

    def __cinit__(self, *_, **__):
        cdef int n = self.simulation.n
        cdef int i
        self.network.endpoints = <endpoint_t *>calloc(n, sizeof(endpoint_t))
        if self.network.endpoints == NULL:
            raise MemoryError()
        for i in range(n):
            self.network.endpoints[i].network = &self.network
            self.network.endpoints[i].rank = &self.simulation.ranks[i]
            self.network.endpoints[i].parts_until_death = -1
            self.network.endpoints[i].n_delivered = -1
            self.network.endpoints[i].latest_due = <int64_t *>calloc(n, sizeof(int64_t))
            if self.network.endpoints[i].latest_due == NULL:
                raise MemoryError()

    def __init__(
        self, int n, seed, int64_t latency=2_000, int preempt=0, bint wakeup=False,
        bint slow_sends=False,
    ):
        if latency < 1:
            raise ValueError(f"latency must be at least 1 ns, got {latency}")
        super().__init__(n, seed, preempt)
        self.network.latency = latency
        self.network.wakeup = wakeup
        self.network.slow_sends = slow_sends

    def __dealloc__(self):
        cdef endpoint_t *e
        cdef int i
        if self.network.endpoints == NULL:
            return
        for i in range(self.simulation.n):
            e = &self.network.endpoints[i]
            while e.inbox != NULL:
                release(unlink(&e.inbox))
            release(e.sent)
            free(e.latest_due)
        free(self.network.endpoints)

    def transport(self, int rank):
        """Return the endpoint of a rank, for one `Channel`."""
        return SimulatedTransport(self, rank)

    cdef endpoint_t *endpoint(self, int number) except NULL:
        self.rank(number)
        return &self.network.endpoints[number]

    def plan_death(
        self, int rank, int64_t step=-1, int part_message=-1, int n_delivered=-1,
        int64_t report_delay=0,
    ):
        """Plan how a rank dies.

        Parameters
        ----------
        rank : int
            The rank. Without `step` and `part_message` only `kill` makes it die.
        step : int
            The step at which it dies.
        part_message : int
            It dies while it sends this message with parts, counted from 1.
        n_delivered : int
            How many of its messages in flight to each rank arrive; -1 for all.
        report_delay : int
            The least time in ns until its death is reported to other ranks.
        """
        cdef endpoint_t *e = self.endpoint(rank)
        e.rank.death_step = step
        e.rank.report_delay = report_delay
        e.parts_until_death = part_message
        e.n_delivered = n_delivered

    cdef void discard_pending(self, int number) noexcept nogil:
        """Discard messages to a dead rank, and those from it beyond the first `n_delivered`."""
        cdef endpoint_t *dead = &self.network.endpoints[number]
        cdef int i
        for i in range(self.simulation.n):
            discard_undelivered(dead, &self.network.endpoints[i].inbox)
        while dead.inbox != NULL:
            return_to_sender(&self.network, &dead.inbox)

    # Faults

    def lose_message(self, int rank):
        """Lose the next message to a rank; return False if none is in flight."""
        cdef endpoint_t *e = self.endpoint(rank)
        if e.inbox == NULL:
            return False
        return_to_sender(&self.network, &e.inbox)
        return True

    def inject_faults(self, bint reports_early=False, bint reorders=False):
        """Report deaths before the last messages of a rank, or reorder its messages."""
        self.network.reports_early = reports_early
        self.network.reorders = reorders

    # State

    @property
    def n_in_flight(self):
        """The number of messages that were sent and not received."""
        cdef in_flight_t *in_flight
        cdef int n = 0
        cdef int i
        for i in range(self.simulation.n):
            in_flight = self.network.endpoints[i].inbox
            while in_flight != NULL:
                n += 1
                in_flight = in_flight.next
        return n


cdef class SimulatedTransport(Transport):
    """The endpoint of one rank of a `SimulatedNetwork`."""

    def __cinit__(self, SimulatedNetwork network not None, int rank):
        self.network = network
        self.table.self = network.endpoint(rank)
        self.table.n_ranks = network.simulation.n
        self.table.send = simulated_send
        self.table.poll = simulated_poll
        self.table.sent = simulated_sent
        self.table.pending = simulated_pending
        self.table.is_active = simulated_is_active
        self.table.next_lost = simulated_next_lost
        self.table.mark_failed = simulated_mark_failed
        self.table.now = simulated_now
        self.table.sleep = simulated_sleep
