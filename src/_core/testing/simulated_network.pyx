"""A simulated network between ranks that run in turns: messages and their delays.

The delay of each message is drawn from the seed of `deterministic_scheduler`; only messages from
one rank to another keep their order. Sending and polling are steps, at which a rank may fail, also
with a message half sent; of the messages that it had sent only a chosen number arrives.
"""
from bsbpool._core.testing.deterministic_scheduler cimport (
    SENT,
    TAKEN,
    TurnScheduler,
    die,
    draw,
    is_news,
    is_over,
    rank_t,
    reveal,
    sleep_until,
    take_step,
    tell,
    time_of,
    touch,
    world_t,
)
from bsbpool._core.testing.inprocess_transport cimport append, copied, pop, release
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY, Transport, transport_t
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

cdef enum:
    GONE = -103  # the rank itself has died, or the run was halted
    UNKNOWN_RANK = -102
    LONG_NS = 200_000  # sleeps of which nobody hopes that they end in time
    OVERSLEPT_NS = 4_000_000
    SLOW_MESSAGE = 64  # the factor by which one of 32 messages takes longer


# ------------------------------------------------------------------ messages

cdef int post(end_t *target, message_t *m) noexcept nogil:
    """Put a message on its way, among those that come before and after it."""
    cdef mail_t *mail = target.mail
    cdef world_t *w = target.rank.world
    cdef in_flight_t **link = &target.inbox
    cdef in_flight_t *in_flight = <in_flight_t *>calloc(1, sizeof(in_flight_t))
    cdef int64_t takes = 1 + <int64_t>(draw(w) % <uint64_t>mail.latency)
    if in_flight == NULL:
        return -1
    in_flight.message = m
    in_flight.due = w.clock + (takes if draw(w) & 31 else takes * SLOW_MESSAGE)
    if not mail.disorder:
        in_flight.due = max(in_flight.due, target.latest[m.peer])
    target.latest[m.peer] = in_flight.due
    while link[0] != NULL and link[0].due <= in_flight.due:
        link = &link[0].next
    in_flight.next = link[0]
    link[0] = in_flight
    # A bell that was missed may delay a in flight, no more.
    if mail.wakeup and target.rank.asleep and draw(w) & 31:
        target.rank.wake = min(target.rank.wake, in_flight.due)
    return 0


cdef message_t *unlink(in_flight_t **link) noexcept nogil:
    """Take a in flight from its place; return what was in it."""
    cdef in_flight_t *in_flight = link[0]
    cdef message_t *m = in_flight.message
    link[0] = in_flight.next
    free(in_flight)
    return m


cdef void give_back(mail_t *mail, in_flight_t **link) noexcept nogil:
    """Let a in flight not arrive. Who sent it owns its parts, and wants to know them unused."""
    cdef message_t *m = unlink(link)
    append(&mail.ends[m.peer].sent, m)


cdef bint has_in_flight(end_t *end, int source) noexcept nogil:
    cdef in_flight_t *in_flight = end.inbox
    while in_flight != NULL and in_flight.message.peer != source:
        in_flight = in_flight.next
    return in_flight != NULL


cdef void cut(end_t *dead, in_flight_t **link) noexcept nogil:
    """Take away what a dead rank sent and nobody will have whole."""
    cdef int left = dead.keep
    while link[0] != NULL:
        if link[0].message.peer == dead.rank.number:
            if left == 0:
                give_back(dead.mail, link)
                continue
            left -= left > 0
        link = &link[0].next


# ------------------------------------------------------------------ the table

cdef int simulated_send(transport_t *t, message_t *m) noexcept nogil:
    cdef end_t *end = <end_t *>t.self
    cdef rank_t *r = end.rank
    cdef int target = m.peer
    m.peer = r.number
    if not take_step(r):
        append(&end.sent, m)
        return GONE
    if not 0 <= target < r.world.n:
        append(&end.sent, m)
        return UNKNOWN_RANK
    touch(r.world, r.number, SENT)
    end.half -= m.n_parts > 0 and end.half >= 0
    if r.world.ranks[target].dead or (m.n_parts and end.half == 0):
        append(&end.sent, m)
    elif post(&end.mail.ends[target], m) < 0:
        append(&end.sent, m)
        return TRANSPORT_NO_MEMORY
    if m.n_parts and end.half == 0:
        die(r)
    return 0 if take_step(r) else GONE


cdef message_t *simulated_poll(transport_t *t, int *error) noexcept nogil:
    cdef end_t *end = <end_t *>t.self
    cdef rank_t *r = end.rank
    cdef message_t *m
    cdef message_t *copy
    if not take_step(r):
        error[0] = GONE
        return NULL
    if end.inbox == NULL or end.inbox.due > r.world.clock:
        return NULL
    m = unlink(&end.inbox)
    touch(r.world, r.number, TAKEN)
    if m.n_parts == 0:
        return m
    copy = copied(m)  # only now: a sender that frees parts early is found out
    append(&end.mail.ends[m.peer].sent, m)
    if copy == NULL:
        error[0] = TRANSPORT_NO_MEMORY
    return copy


cdef message_t *simulated_sent(transport_t *t) noexcept nogil:
    return pop(&(<end_t *>t.self).sent)


cdef int simulated_pending(transport_t *t) noexcept nogil:
    cdef end_t *end = <end_t *>t.self
    cdef rank_t *r = end.rank
    cdef in_flight_t *in_flight
    cdef int n = 0
    cdef int i
    cdef bint late
    if is_over(r):
        return 0  # it does not wait for anything any more
    for i in range(r.world.n):
        in_flight = end.mail.ends[i].inbox
        while in_flight != NULL:
            if in_flight.message.peer == r.number:
                late = end.mail.slow and in_flight.due > r.world.clock
                n += in_flight.message.n_parts > 0 or late
            in_flight = in_flight.next
    return n


cdef bint simulated_is_active(transport_t *t) noexcept nogil:
    return simulated_pending(t) > 0


cdef int simulated_next_lost(transport_t *t) noexcept nogil:
    cdef end_t *end = <end_t *>t.self
    cdef rank_t *r = end.rank
    cdef int i
    if is_over(r):
        return -1
    for i in range(r.world.n):
        if is_news(r, i) and (end.mail.hasty or not has_in_flight(end, i)):
            tell(r, i)
            return i
    return -1


cdef void simulated_mark_failed(transport_t *t, int peer) noexcept nogil:
    reveal((<end_t *>t.self).rank.world, peer)


cdef int64_t simulated_now(transport_t *t) noexcept nogil:
    return time_of((<end_t *>t.self).rank)


cdef void simulated_sleep(transport_t *t, int64_t ns) noexcept nogil:
    cdef end_t *end = <end_t *>t.self
    cdef world_t *w = end.rank.world
    cdef int64_t wake = w.clock + max(1, ns)
    if is_over(end.rank):
        return
    if not end.mail.wakeup and ns > LONG_NS:
        # Nobody promised to be in time.
        wake += min(<int64_t>(draw(w) % 8) * ns, OVERSLEPT_NS)
    elif end.mail.wakeup and end.inbox != NULL:
        wake = min(wake, end.inbox.due)
    sleep_until(end.rank, wake)


# ------------------------------------------------------------------ for Python

cdef class SimulatedNetwork(TurnScheduler):
    """A network between `n` ranks that take turns.

    Parameters
    ----------
    n, seed, preempt : int
        As of a `TurnScheduler`.
    latency : int
        Nanoseconds that a message takes at most; some take much longer.
    wakeup : bool
        Whether a message wakes its receiver.
    slow : bool
        Whether messages without parts have left only when they arrive.
    """

    def __cinit__(self, *_, **__):
        cdef int n = self.world.n
        cdef int i
        self.mail.ends = <end_t *>calloc(n, sizeof(end_t))
        if self.mail.ends == NULL:
            raise MemoryError()
        for i in range(n):
            self.mail.ends[i].mail = &self.mail
            self.mail.ends[i].rank = &self.world.ranks[i]
            self.mail.ends[i].half = self.mail.ends[i].keep = -1
            self.mail.ends[i].latest = <int64_t *>calloc(n, sizeof(int64_t))
            if self.mail.ends[i].latest == NULL:
                raise MemoryError()

    def __init__(
        self, int n, seed, int64_t latency=2_000, int preempt=0, bint wakeup=False,
        bint slow=False,
    ):
        if latency < 1:
            raise ValueError("messages take time")
        super().__init__(n, seed, preempt)
        self.mail.latency = latency
        self.mail.wakeup = wakeup
        self.mail.slow = slow

    def __dealloc__(self):
        cdef end_t *end
        cdef int i
        if self.mail.ends == NULL:
            return
        for i in range(self.world.n):
            end = &self.mail.ends[i]
            while end.inbox != NULL:
                release(unlink(&end.inbox))
            release(end.sent)
            free(end.latest)
        free(self.mail.ends)

    def transport(self, int rank):
        """Return the end of the network at `rank`, for one `Channel`."""
        return SimulatedTransport(self, rank)

    cdef end_t *end(self, int number) except NULL:
        self.rank(number)
        return &self.mail.ends[number]

    def doom(self, int rank, int64_t step=-1, int half=-1, int keep=-1, int64_t told_after=0):
        """Decide how a rank dies.

        At its `step`th step, or while its `half`th message with parts is half sent, or by
        `kill`. Of its messages in transit the first `keep` to each rank arrive (-1: all).
        Others know of its death no sooner than `told_after` ns later.
        """
        cdef end_t *end = self.end(rank)
        end.rank.last_step = step
        end.rank.told_after = told_after
        end.half = half
        end.keep = keep

    cdef void discard_pending(self, int number) noexcept nogil:
        """Drop the messages to a failed rank, and those from it beyond the first `keep`."""
        cdef end_t *dead = &self.mail.ends[number]
        cdef int i
        for i in range(self.world.n):
            cut(dead, &self.mail.ends[i].inbox)
        while dead.inbox != NULL:
            give_back(&self.mail, &dead.inbox)

    # Planted faults

    def discard(self, int rank):
        """Lose the next message for a rank; False when none is under way."""
        cdef end_t *end = self.end(rank)
        if end.inbox == NULL:
            return False
        give_back(&self.mail, &end.inbox)
        return True

    def sabotage(self, bint hasty=False, bint disorder=False):
        """Inject a fault: report failures before the last messages, or reorder messages."""
        self.mail.hasty = hasty
        self.mail.disorder = disorder

    # Looking

    @property
    def under_way(self):
        """The number of messages that were sent and not received."""
        cdef in_flight_t *in_flight
        cdef int n = 0
        cdef int i
        for i in range(self.world.n):
            in_flight = self.mail.ends[i].inbox
            while in_flight != NULL:
                n += 1
                in_flight = in_flight.next
        return n


cdef class SimulatedTransport(Transport):
    """One rank's end of a `SimulatedNetwork`."""

    def __cinit__(self, SimulatedNetwork network not None, int rank):
        self.network = network
        self.table.self = network.end(rank)
        self.table.send = simulated_send
        self.table.poll = simulated_poll
        self.table.sent = simulated_sent
        self.table.pending = simulated_pending
        self.table.is_active = simulated_is_active
        self.table.next_lost = simulated_next_lost
        self.table.mark_failed = simulated_mark_failed
        self.table.now = simulated_now
        self.table.sleep = simulated_sleep
