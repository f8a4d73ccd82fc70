"""A network with a clock of its own, on which everything follows from one seed.

Each rank runs the real loops in a thread, but only one at a time: the one that has the
*baton*. It passes the baton on where it sleeps, and sometimes, as the seed has it, where it
sends or looks for messages. The rank that wants to wake first is next, and the clock then says
when that is. So time costs nothing, and the same seed gives the same run.

Messages take their time, drawn from the seed; only those from one rank to another keep their
order. A rank may die at any step (a step is a call of the network), also with a message half
sent. From then on its thread can do nothing but end, and of what it had sent only as much
arrives as was decided. Python's part are *events*, which happen at given times, and looks at
the whole whenever the baton passes.
"""
from bsbpool._core.sim cimport append, copied, pop, release
from bsbpool._core.transport cimport (
    TRANSPORT_NO_MEMORY,
    Transport,
    message_t,
    transport_t,
)
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

import heapq

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *, int, unsigned int)
    int sem_post(sem_t *)
    int sem_wait(sem_t *)
    int sem_destroy(sem_t *)

cdef extern from "Python.h" nogil:
    ctypedef struct PyThreadState:
        pass
    int PyGILState_Check()
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *)

cdef enum:
    GONE = -103  # the rank itself has died, or the run was halted
    UNKNOWN_RANK = -102
    STEP_NS = 50
    PREEMPTED_NS = 30_000
    LONG_NS = 200_000  # sleeps of which nobody hopes that they end in time
    OVERSLEPT_NS = 4_000_000
    ENDING_NS = 1_000_000_000
    SLOW_LETTER = 64  # how much longer one of 32 letters takes

ctypedef struct letter_t:
    message_t *message  # `peer` says who sent it
    int64_t due
    letter_t *next

ctypedef struct rank_t:
    world_t *world
    int number
    sem_t baton
    int64_t wake
    bint asleep  # a letter may wake it
    bint there
    bint dead
    int64_t steps
    int64_t last_step  # at which it dies; -1: never
    int half  # it dies while this message with parts is half sent
    int keep  # how many letters to each rank outlive it; -1: all
    int64_t ending  # its own time, from its death on
    int64_t told_after  # from its death until others may know
    int64_t told_at
    letter_t *inbox  # by `due`
    message_t *sent
    uint8_t *told  # by rank: that it is dead
    int64_t *latest  # by sender: when its last letter is due

ctypedef struct world_t:
    void *network
    rank_t *ranks
    int n
    int64_t clock
    int64_t next_event
    int64_t bound
    int64_t patience
    int64_t touched  # when something happened last
    uint64_t seed
    uint64_t trace
    int64_t n_passes
    int64_t latency
    int preempt
    bint bells
    bint slow
    bint hasty
    bint disorder
    bint dirty
    bint halted


cdef uint64_t draw(world_t *w) noexcept nogil:
    """Return the next random number (splitmix64)."""
    cdef uint64_t z
    w.seed += <uint64_t>0x9E3779B97F4A7C15
    z = w.seed
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef void touch(world_t *w, int rank, int what) noexcept nogil:
    """Something happened: it goes into the trace, and all laws are checked after it."""
    w.trace = (w.trace ^ <uint64_t>w.clock) * <uint64_t>0x100000001B3
    w.trace = (w.trace ^ <uint64_t>(rank << 8 | what)) * <uint64_t>0x100000001B3
    w.touched = w.clock
    w.dirty = True


# ------------------------------------------------------------------ the baton

cdef rank_t *earliest(world_t *w) noexcept nogil:
    cdef rank_t *found = NULL
    cdef int i
    for i in range(w.n):
        if w.ranks[i].there and (found == NULL or w.ranks[i].wake < found.wake):
            found = &w.ranks[i]
    return found


cdef void pass_on(rank_t *me) noexcept nogil:
    """Give the baton to whoever wakes first, and wait for it unless this rank has left."""
    cdef world_t *w = me.world
    cdef rank_t *following = earliest(w)
    while following != NULL and w.next_event <= following.wake and not w.halted:
        (<VirtualNetwork>w.network).happen()
        following = earliest(w)
    if following == NULL:
        return
    w.clock = max(w.clock, following.wake)
    w.n_passes += 1
    if not w.halted and (w.dirty or w.clock > w.bound or w.clock - w.touched > w.patience):
        (<VirtualNetwork>w.network).look()
    w.dirty = False
    following.asleep = False
    if following != me:
        sem_post(&following.baton)
        if me.there:
            await_baton(me)


cdef void await_baton(rank_t *me) noexcept nogil:
    cdef PyThreadState *state = NULL
    if PyGILState_Check():
        state = PyEval_SaveThread()
    sem_wait(&me.baton)
    if state != NULL:
        PyEval_RestoreThread(state)


cdef void nap(rank_t *r, int64_t ns) noexcept nogil:
    r.wake = r.world.clock + max(1, ns)
    pass_on(r)


cdef bint step(rank_t *r) noexcept nogil:
    """A point at which a rank may die, or be kept waiting; False when it cannot go on."""
    cdef world_t *w = r.world
    if r.dead or w.halted:
        return False
    r.steps += 1
    w.clock += STEP_NS + <int64_t>(draw(w) % STEP_NS)
    if r.steps == r.last_step:
        die(r)
    elif w.preempt and <int>(draw(w) % 1024) < w.preempt:
        nap(r, <int64_t>(draw(w) % PREEMPTED_NS))
    return not r.dead and not w.halted


# ------------------------------------------------------------------ death

cdef void die(rank_t *r) noexcept nogil:
    cdef world_t *w = r.world
    cdef message_t *m
    cdef letter_t *letter
    cdef int i
    if r.dead or not r.there:
        return
    r.dead = True
    r.asleep = False
    r.wake = w.clock
    r.told_at = w.clock + r.told_after
    touch(w, r.number, 1)
    (<VirtualNetwork>w.network).tell_of_death(r.number)
    for i in range(w.n):
        cut(r, &w.ranks[i].inbox)
    while r.inbox != NULL:
        letter = r.inbox
        r.inbox = letter.next
        m = letter.message
        free(letter)
        append(&w.ranks[m.peer].sent, m)


cdef void cut(rank_t *r, letter_t **link) noexcept nogil:
    """Take away what a dead rank sent and nobody will have whole."""
    cdef letter_t *letter
    cdef int left = r.keep
    while link[0] != NULL:
        letter = link[0]
        if letter.message.peer != r.number or left != 0:
            left -= letter.message.peer == r.number and left > 0
            link = &letter.next
            continue
        link[0] = letter.next
        append(&r.sent, letter.message)
        free(letter)


cdef int virtual_lost(transport_t *t) noexcept nogil:
    cdef rank_t *r = <rank_t *>t.self
    cdef world_t *w = r.world
    cdef rank_t *other
    cdef int i
    if r.dead or w.halted:
        return -1
    for i in range(w.n):
        other = &w.ranks[i]
        if not other.dead or other.there or r.told[i] or w.clock < other.told_at:
            continue
        if w.hasty or not has_letter(r, i):
            r.told[i] = True
            touch(w, r.number, 2)
            return i
    return -1


cdef bint has_letter(rank_t *r, int source) noexcept nogil:
    cdef letter_t *letter = r.inbox
    while letter != NULL and letter.message.peer != source:
        letter = letter.next
    return letter != NULL


cdef void virtual_give_up(transport_t *t, int peer) noexcept nogil:
    cdef world_t *w = (<rank_t *>t.self).world
    if 0 <= peer < w.n and w.ranks[peer].dead:
        w.ranks[peer].told_at = w.clock


# ------------------------------------------------------------------ letters

cdef int virtual_send(transport_t *t, message_t *m) noexcept nogil:
    cdef rank_t *r = <rank_t *>t.self
    cdef world_t *w = r.world
    cdef int target = m.peer
    m.peer = r.number
    if not step(r):
        append(&r.sent, m)
        return GONE
    if not 0 <= target < w.n:
        append(&r.sent, m)
        return UNKNOWN_RANK
    touch(w, r.number, 3)
    r.half -= m.n_parts > 0 and r.half >= 0
    if w.ranks[target].dead or (m.n_parts and r.half == 0):
        append(&r.sent, m)
    elif post(&w.ranks[target], m) < 0:
        append(&r.sent, m)
        return TRANSPORT_NO_MEMORY
    if m.n_parts and r.half == 0:
        die(r)
    return 0 if step(r) else GONE


cdef int post(rank_t *target, message_t *m) noexcept nogil:
    cdef world_t *w = target.world
    cdef letter_t **link = &target.inbox
    cdef letter_t *letter = <letter_t *>calloc(1, sizeof(letter_t))
    cdef int64_t takes = 1 + <int64_t>(draw(w) % <uint64_t>w.latency)
    if letter == NULL:
        return -1
    letter.message = m
    letter.due = w.clock + (takes if draw(w) & 31 else takes * SLOW_LETTER)
    if not w.disorder:
        letter.due = max(letter.due, target.latest[m.peer])
    target.latest[m.peer] = letter.due
    while link[0] != NULL and link[0].due <= letter.due:
        link = &link[0].next
    letter.next = link[0]
    link[0] = letter
    # A bell that was missed may delay a letter, no more.
    if w.bells and target.asleep and draw(w) & 31:
        target.wake = min(target.wake, letter.due)
    return 0


cdef message_t *virtual_poll(transport_t *t, int *error) noexcept nogil:
    cdef rank_t *r = <rank_t *>t.self
    cdef world_t *w = r.world
    cdef letter_t *letter
    cdef message_t *m
    cdef message_t *copy
    if not step(r):
        error[0] = GONE
        return NULL
    letter = r.inbox
    if letter == NULL or letter.due > w.clock:
        return NULL
    r.inbox = letter.next
    m = letter.message
    free(letter)
    touch(w, r.number, 4)
    if m.n_parts == 0:
        return m
    copy = copied(m)  # only now: a sender that frees parts early is found out
    append(&w.ranks[m.peer].sent, m)
    if copy == NULL:
        error[0] = TRANSPORT_NO_MEMORY
    return copy


cdef message_t *virtual_sent(transport_t *t) noexcept nogil:
    return pop(&(<rank_t *>t.self).sent)


cdef int virtual_pending(transport_t *t) noexcept nogil:
    cdef rank_t *r = <rank_t *>t.self
    cdef world_t *w = r.world
    cdef letter_t *letter
    cdef int n = 0
    cdef int i
    if r.dead or w.halted:
        return 0  # it does not wait for anything any more
    for i in range(w.n):
        letter = w.ranks[i].inbox
        while letter != NULL:
            if letter.message.peer == r.number:
                n += letter.message.n_parts > 0 or (w.slow and letter.due > w.clock)
            letter = letter.next
    return n


cdef bint virtual_moving(transport_t *t) noexcept nogil:
    return virtual_pending(t) > 0


cdef int64_t virtual_now(transport_t *t) noexcept nogil:
    cdef rank_t *r = <rank_t *>t.self
    if r.dead or r.world.halted:
        r.ending += ENDING_NS  # so that whatever it waits for is over soon
        return INT64_MAX // 2 + r.ending
    return r.world.clock


cdef void virtual_sleep(transport_t *t, int64_t ns) noexcept nogil:
    cdef rank_t *r = <rank_t *>t.self
    cdef world_t *w = r.world
    if r.dead or w.halted:
        return
    r.wake = w.clock + max(1, ns)
    r.asleep = True
    if not w.bells and ns > LONG_NS:
        # Nobody promised to be in time.
        r.wake += min(<int64_t>(draw(w) % 8) * ns, OVERSLEPT_NS)
    elif w.bells and r.inbox != NULL:
        r.wake = min(r.wake, r.inbox.due)
    pass_on(r)


# ------------------------------------------------------------------ for Python

def _ignore(*_):
    """Do nothing."""


cdef class VirtualNetwork:
    """A network between `n` ranks, and the clock that they live by.

    Parameters
    ----------
    n : int
        How many ranks there are.
    seed : int
        What everything follows from.
    latency : int
        Nanoseconds that a message takes at most; some take much longer.
    preempt : int
        How many of 1024 steps keep the rank waiting.
    bells : bool
        Whether a message wakes its receiver.
    slow : bool
        Whether messages without parts have left only when they arrive.

    Attributes
    ----------
    on_pass : callable
        Called after everything that happened, to check what must hold.
    on_late : callable
        Called with the reason when the clock leaves its limits; should raise.
    on_death : callable
        Called with a rank that dies.
    trouble : Exception or None
        What the first of these, or of the events, raised; it halts the network.
    """

    cdef world_t world
    cdef list events
    cdef int64_t n_events
    cdef public object on_pass, on_late, on_death
    cdef readonly object trouble

    def __cinit__(
        self, int n, seed, int64_t latency=2_000, int preempt=0, bint bells=False,
        bint slow=False,
    ):
        cdef int i
        if n < 1 or latency < 1:
            raise ValueError("a network has at least one rank, and messages take time")
        self.world.ranks = <rank_t *>calloc(n, sizeof(rank_t))
        if self.world.ranks == NULL:
            raise MemoryError()
        self.world.network = <void *>self
        self.world.n = n
        self.world.seed = <uint64_t>seed
        self.world.latency = latency
        self.world.preempt = preempt
        self.world.bells = bells
        self.world.slow = slow
        self.world.next_event = self.world.bound = self.world.patience = INT64_MAX
        self.world.clock = 1_000_000  # 0 means "never" to some
        self.events = []
        self.on_pass = self.on_late = self.on_death = _ignore
        for i in range(n):
            self.world.ranks[i].world = &self.world
            self.world.ranks[i].number = i
            self.world.ranks[i].there = True
            self.world.ranks[i].wake = self.world.clock + i
            self.world.ranks[i].last_step = self.world.ranks[i].half = -1
            self.world.ranks[i].keep = -1
            sem_init(&self.world.ranks[i].baton, 0, 0)
            self.world.ranks[i].told = <uint8_t *>calloc(n, 1)
            self.world.ranks[i].latest = <int64_t *>calloc(n, sizeof(int64_t))
            if self.world.ranks[i].told == NULL or self.world.ranks[i].latest == NULL:
                raise MemoryError()

    def __dealloc__(self):
        cdef letter_t *letter
        cdef rank_t *r
        cdef int i
        for i in range(self.world.n):
            r = &self.world.ranks[i]
            while r.inbox != NULL:
                letter = r.inbox
                r.inbox = letter.next
                release(letter.message)
                free(letter)
            release(r.sent)
            sem_destroy(&r.baton)
            free(r.told)
            free(r.latest)
        free(self.world.ranks)

    cdef rank_t *rank(self, int number) except NULL:
        if not 0 <= number < self.world.n:
            raise IndexError(f"no rank {number}")
        return &self.world.ranks[number]

    # Ranks

    def transport(self, int rank):
        """Return the end of the network at `rank`, for one `Channel`."""
        return VirtualTransport(self, rank)

    def enter(self, int rank):
        """Take part in the calling thread, from when it has the baton; rank 0 has it first."""
        cdef rank_t *r = self.rank(rank)
        if rank:
            await_baton(r)

    def leave(self, int rank):
        """Take part no more, and let the others go on."""
        cdef rank_t *r = self.rank(rank)
        r.there = False
        touch(&self.world, rank, 5)
        pass_on(r)

    def rest(self, int rank, int64_t ns):
        """Let a rank be busy for a time; return whether it lives."""
        cdef rank_t *r = self.rank(rank)
        if not r.dead and not self.world.halted:
            nap(r, ns)
        return not r.dead and not self.world.halted

    def step(self, int rank):
        """Let a rank die or be kept waiting here, perhaps; return whether it lives."""
        return step(self.rank(rank))

    def wake(self, int rank):
        """Wake a rank that sleeps until a message comes."""
        cdef rank_t *r = self.rank(rank)
        if r.asleep:
            r.wake = min(r.wake, self.world.clock + 1)

    # What happens

    def at(self, int64_t ns, event):
        """Let `event` be called at a time."""
        heapq.heappush(self.events, (ns, self.n_events, event))
        self.n_events += 1
        self.world.next_event = self.events[0][0]

    def kill(self, int rank):
        """Let a rank die now. To be called in events."""
        die(self.rank(rank))

    def doom(self, int rank, int64_t step=-1, int half=-1, int keep=-1, int64_t told_after=0):
        """Decide how a rank dies.

        At its `step`th step, or while its `half`th message with parts is half sent, or by
        `kill`. Of its letters under way the first `keep` arrive (-1: all). Others know of its
        death no sooner than `told_after` ns later.
        """
        cdef rank_t *r = self.rank(rank)
        r.last_step = step
        r.half = half
        r.keep = keep
        r.told_after = told_after

    def limit(self, int64_t bound, int64_t patience):
        """Be late after the time `bound`, and when nothing happens for `patience` ns."""
        self.world.bound = bound
        self.world.patience = patience

    def touch(self):
        """Something happened that the network does not see."""
        touch(&self.world, 0, 6)

    cdef void happen(self) noexcept with gil:
        """Let the next event happen."""
        ns, _, event = heapq.heappop(self.events)
        self.world.next_event = self.events[0][0] if self.events else INT64_MAX
        self.world.clock = max(self.world.clock, <int64_t>ns)
        touch(&self.world, 0, 7)
        self.call(event)

    cdef void look(self) noexcept with gil:
        cdef world_t *w = &self.world
        if w.clock > w.bound:
            self.call(self.on_late, ("the run takes too long",))
        elif w.clock - w.touched > w.patience:
            self.call(self.on_late, ("nothing happens any more",))
        self.call(self.on_pass)

    cdef void tell_of_death(self, int rank) noexcept with gil:
        self.call(self.on_death, (rank,))

    cdef int call(self, f, tuple args=()) except -1:
        try:
            f(*args)
        except BaseException as error:
            self.halt(error)
        return 0

    def halt(self, error):
        """Let all ranks come to their end; the first `error` is kept as the trouble."""
        cdef int i
        if self.trouble is None:
            self.trouble = error
        self.world.halted = True
        for i in range(self.world.n):
            self.world.ranks[i].wake = self.world.clock

    # Planted faults

    def discard(self, int rank):
        """Lose the next message for a rank; False when none is under way."""
        cdef letter_t *letter = self.rank(rank).inbox
        if letter == NULL:
            return False
        self.world.ranks[rank].inbox = letter.next
        append(&self.world.ranks[letter.message.peer].sent, letter.message)
        free(letter)
        return True

    def sabotage(self, bint hasty=False, bint disorder=False):
        """Tell of deaths before the last messages, or do not keep the order of messages."""
        self.world.hasty = hasty
        self.world.disorder = disorder

    # Looking

    def is_dead(self, int rank):
        """Whether a rank has died."""
        return self.rank(rank).dead

    @property
    def clock(self):
        """The time in ns."""
        return self.world.clock

    @property
    def trace(self):
        """A number that follows from all that happened, and when."""
        return self.world.trace

    @property
    def n_passes(self):
        """How often the baton was passed."""
        return self.world.n_passes

    @property
    def under_way(self):
        """How many messages have been sent and not taken."""
        cdef letter_t *letter
        cdef int n = 0
        cdef int i
        for i in range(self.world.n):
            letter = self.world.ranks[i].inbox
            while letter != NULL:
                n += 1
                letter = letter.next
        return n


cdef class VirtualTransport(Transport):
    """One rank's end of a `VirtualNetwork`."""

    cdef VirtualNetwork network

    def __cinit__(self, VirtualNetwork network not None, int rank):
        self.network = network
        self.table.self = network.rank(rank)
        self.table.send = virtual_send
        self.table.poll = virtual_poll
        self.table.sent = virtual_sent
        self.table.pending = virtual_pending
        self.table.moving = virtual_moving
        self.table.lost = virtual_lost
        self.table.give_up = virtual_give_up
        self.table.now = virtual_now
        self.table.sleep = virtual_sleep
