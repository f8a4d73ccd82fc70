"""Ranks that take turns, on a clock of their own, so that everything follows from one seed.

Each rank runs in a thread, but only one at a time: the one that has the *turn*. It passes the
turn on where it sleeps, and sometimes, as the seed has it, where it takes a *step*. The rank
that wants to wake first is next, and the clock then says when that is. So time costs nothing,
and the same seed gives the same run.

A rank may die at any step. From then on its thread can do nothing but end: for it time runs
away, so that whatever it waits for is over. Python's part are *events*, which happen at given
times, and looks at the whole whenever the turn passes.
"""
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

import heapq

cdef extern from "<semaphore.h>" nogil:
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
    START_NS = 1_000_000  # 0 means "never" to some
    STEP_NS = 50
    PREEMPTED_NS = 30_000
    ENDING_NS = 1_000_000_000


# ------------------------------------------------------------------ the turn

cdef rank_t *earliest(world_t *w) noexcept nogil:
    cdef rank_t *found = NULL
    cdef int i
    for i in range(w.n):
        if w.ranks[i].there and (found == NULL or w.ranks[i].wake < found.wake):
            found = &w.ranks[i]
    return found


cdef void pass_on(rank_t *me) noexcept nogil:
    """Give the turn to the rank that wakes first, and wait for it unless this rank has left."""
    cdef world_t *w = me.world
    cdef rank_t *following = earliest(w)
    while following != NULL and w.next_event <= following.wake and not w.halted:
        (<TurnScheduler>w.scheduler).happen()
        following = earliest(w)  # an event may wake or kill somebody
    if following == NULL:
        return
    w.clock = max(w.clock, following.wake)
    w.n_passes += 1
    if not w.halted and (w.dirty or w.clock > w.bound or w.clock - w.touched > w.patience):
        (<TurnScheduler>w.scheduler).look()
    w.dirty = False
    following.asleep = False
    if following != me:
        sem_post(&following.turn)
        if me.there:
            await_turn(me)


cdef void await_turn(rank_t *me) noexcept nogil:
    """Wait without the GIL, which the rank that has the turn may need."""
    cdef PyThreadState *state = NULL
    if PyGILState_Check():
        state = PyEval_SaveThread()
    sem_wait(&me.turn)
    if state != NULL:
        PyEval_RestoreThread(state)


cdef bint take_step(rank_t *r) noexcept nogil:
    """A point at which a rank may die, or be kept waiting; False when it cannot go on."""
    cdef world_t *w = r.world
    if is_over(r):
        return False
    r.steps += 1
    w.clock += STEP_NS + <int64_t>(draw(w) % STEP_NS)
    if r.steps == r.last_step:
        die(r)
    elif w.preempt and <int>(draw(w) % 1024) < w.preempt:
        nap(r, <int64_t>(draw(w) % PREEMPTED_NS))
    return not is_over(r)


cdef void nap(rank_t *r, int64_t ns) noexcept nogil:
    r.wake = r.world.clock + max(1, ns)
    pass_on(r)


cdef void sleep_until(rank_t *r, int64_t wake) noexcept nogil:
    """Like a nap, but something may wake the rank sooner."""
    r.asleep = True
    r.wake = wake
    pass_on(r)


cdef int64_t time_of(rank_t *r) noexcept nogil:
    if is_over(r):
        r.ending += ENDING_NS  # so that whatever it waits for is over soon
        return INT64_MAX // 2 + r.ending
    return r.world.clock


# ------------------------------------------------------------------ death

cdef void die(rank_t *r) noexcept nogil:
    cdef world_t *w = r.world
    if r.dead or not r.there:
        return
    r.dead = True
    r.asleep = False
    r.wake = w.clock
    r.told_at = w.clock + r.told_after
    touch(w, r.number, DIED)
    (<TurnScheduler>w.scheduler).tell_of_death(r.number)
    (<TurnScheduler>w.scheduler).discard_pending(r.number)


cdef bint is_news(rank_t *r, int number) noexcept nogil:
    """Whether `r` may be told now that another has died, and was not yet."""
    cdef rank_t *other = &r.world.ranks[number]
    # What it leaves in shared memory may change until its thread has ended.
    return (
        other.dead and not other.there and not r.told[number]
        and r.world.clock >= other.told_at
    )


cdef void tell(rank_t *r, int number) noexcept nogil:
    r.told[number] = True
    touch(r.world, r.number, TOLD)


cdef void reveal(world_t *w, int number) noexcept nogil:
    """Somebody has found out that a rank is dead: nobody needs to wait to be told."""
    if 0 <= number < w.n and w.ranks[number].dead:
        w.ranks[number].told_at = w.clock


# ------------------------------------------------------------------ for Python

def _ignore(*_):
    """Do nothing."""


cdef class TurnScheduler:
    """Ranks that take turns, and the clock that they live by.

    Parameters
    ----------
    n : int
        How many ranks there are.
    seed : int
        What everything follows from.
    preempt : int
        How many of 1024 steps keep the rank waiting.

    Attributes
    ----------
    on_pass : callable
        Called after everything that happened, to check what must hold.
    on_late : callable
        Called with the reason when the clock leaves its limits; should raise.
    on_death : callable
        Called with a rank that dies.
    trouble : Exception or None
        What the first of these, or of the events, raised; it halts the ranks.
    """

    def __cinit__(self, int n, *_, **__):
        cdef int i
        if n < 1:
            raise ValueError("there is at least one rank")
        self.events = []
        self.on_pass = self.on_late = self.on_death = _ignore
        self.world.ranks = <rank_t *>calloc(n, sizeof(rank_t))
        if self.world.ranks == NULL:
            raise MemoryError()
        self.world.scheduler = <void *>self
        self.world.n = n
        self.world.next_event = self.world.bound = self.world.patience = INT64_MAX
        self.world.clock = START_NS
        for i in range(n):
            self.world.ranks[i].world = &self.world
            self.world.ranks[i].number = i
            self.world.ranks[i].there = True
            self.world.ranks[i].wake = START_NS + i
            self.world.ranks[i].last_step = -1
            sem_init(&self.world.ranks[i].turn, 0, 0)
            self.world.ranks[i].told = <uint8_t *>calloc(n, 1)
            if self.world.ranks[i].told == NULL:
                raise MemoryError()

    def __init__(self, int n, seed, int preempt=0):
        self.world.seed = <uint64_t>seed
        self.world.preempt = preempt

    def __dealloc__(self):
        cdef int i
        if self.world.ranks == NULL:
            return
        for i in range(self.world.n):
            sem_destroy(&self.world.ranks[i].turn)
            free(self.world.ranks[i].told)
        free(self.world.ranks)

    cdef rank_t *rank(self, int number) except NULL:
        if not 0 <= number < self.world.n:
            raise IndexError(f"no rank {number}")
        return &self.world.ranks[number]

    cdef void discard_pending(self, int number) noexcept nogil:
        pass

    # Ranks

    def enter(self, int rank):
        """Take part in the calling thread, from when it has the turn; rank 0 has it first."""
        cdef rank_t *r = self.rank(rank)
        if rank:
            await_turn(r)

    def leave(self, int rank):
        """Take part no more, and let the others go on."""
        cdef rank_t *r = self.rank(rank)
        r.there = False
        touch(&self.world, rank, LEFT)
        pass_on(r)

    def rest(self, int rank, int64_t ns):
        """Let a rank be busy for a time; return whether it lives."""
        cdef rank_t *r = self.rank(rank)
        if not is_over(r):
            nap(r, ns)
        return not is_over(r)

    def step(self, int rank):
        """Let a rank die or be kept waiting here, perhaps; return whether it lives."""
        return take_step(self.rank(rank))

    def wake(self, int rank):
        """Wake a rank that sleeps and may be woken."""
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

    def limit(self, int64_t bound, int64_t patience):
        """Be late after the time `bound`, and when nothing happens for `patience` ns."""
        self.world.bound = bound
        self.world.patience = patience

    def touch(self):
        """Something happened that the ranks' steps do not show."""
        touch(&self.world, 0, CALL_OPTIONS)

    cdef void happen(self) noexcept with gil:
        """Let the next event happen."""
        ns, _, event = heapq.heappop(self.events)
        self.world.next_event = self.events[0][0] if self.events else INT64_MAX
        self.world.clock = max(self.world.clock, <int64_t>ns)
        touch(&self.world, 0, EVENT)
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
        """How often the turn was passed."""
        return self.world.n_passes
