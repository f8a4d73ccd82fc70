"""Runs ranks as threads, one at a time, on a virtual clock, in an order that a seed determines.

Each rank runs in a thread, and only the rank that has the *turn* runs. It gives up the turn when it
sleeps, and at some of its *steps*, chosen by the seed. The rank with the earliest wake-up time gets
the turn, and the clock is set to that time. So sleeping takes no real time, and the same seed gives
the same run.

A rank can die at each step. From then on its clock runs fast, so that all of its waits time out and
its thread ends. Python code takes part in two ways: by events, which are called at given times, and
by callbacks, which check the state of the run at each switch to another rank.
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
    START_NS = 1_000_000  # not 0, which stands for "never" in some places
    STEP_NS = 50
    MAX_PREEMPTED_NS = 30_000
    DEAD_STEP_NS = 1_000_000_000


# ------------------------------------------------------------------ turns

cdef rank_t *earliest_rank(simulation_t *s) noexcept nogil:
    """Return the active rank with the earliest wake-up time, or NULL."""
    cdef rank_t *found = NULL
    cdef int i
    for i in range(s.n):
        if s.ranks[i].active and (found == NULL or s.ranks[i].wake_at < found.wake_at):
            found = &s.ranks[i]
    return found


cdef void switch_rank(rank_t *current) noexcept nogil:
    """Give the turn to the earliest rank, and wait for it again if this rank is active."""
    cdef simulation_t *s = current.simulation
    cdef rank_t *following = earliest_rank(s)
    while following != NULL and s.next_event <= following.wake_at and not s.halted:
        (<TurnScheduler>s.scheduler).run_next_event()
        following = earliest_rank(s)  # an event may wake or kill a rank
    if following == NULL:
        return
    s.clock = max(s.clock, following.wake_at)
    s.n_switches += 1
    if not s.halted and (
        s.changed or s.clock > s.deadline or s.clock - s.last_change > s.max_idle
    ):
        (<TurnScheduler>s.scheduler).check()
    s.changed = False
    following.asleep = False
    if following != current:
        sem_post(&following.turn)
        if current.active:
            wait_for_turn(current)


cdef void wait_for_turn(rank_t *r) noexcept nogil:
    """Wait without the GIL, which the rank that has the turn may need."""
    cdef PyThreadState *state = NULL
    if PyGILState_Check():
        state = PyEval_SaveThread()
    sem_wait(&r.turn)
    if state != NULL:
        PyEval_RestoreThread(state)


cdef bint take_step(rank_t *r) noexcept nogil:
    """Advance the clock; the rank may die or be preempted. Return whether it can continue."""
    cdef simulation_t *s = r.simulation
    if is_stopped(r):
        return False
    r.steps += 1
    s.clock += STEP_NS + <int64_t>(next_random(s) % STEP_NS)
    if r.steps == r.death_step:
        kill_rank(r)
    elif s.preempt and <int>(next_random(s) % 1024) < s.preempt:
        pause(r, <int64_t>(next_random(s) % MAX_PREEMPTED_NS))
    return not is_stopped(r)


cdef void pause(rank_t *r, int64_t ns) noexcept nogil:
    """Let a rank be busy for a time, during which others run."""
    r.wake_at = r.simulation.clock + max(1, ns)
    switch_rank(r)


cdef void sleep_until(rank_t *r, int64_t wake_at) noexcept nogil:
    """Let a rank sleep until a time, or until it is woken."""
    r.asleep = True
    r.wake_at = wake_at
    switch_rank(r)


cdef int64_t time_of(rank_t *r) noexcept nogil:
    """Return the time in ns that a rank sees."""
    if is_stopped(r):
        r.dead_ns += DEAD_STEP_NS  # so that each of its waits times out
        return INT64_MAX // 2 + r.dead_ns
    return r.simulation.clock


# ------------------------------------------------------------------ deaths

cdef void kill_rank(rank_t *r) noexcept nogil:
    cdef simulation_t *s = r.simulation
    if r.dead or not r.active:
        return
    r.dead = True
    r.asleep = False
    r.wake_at = s.clock
    r.report_at = s.clock + r.report_delay
    record_change(s, r.number, DIED)
    (<TurnScheduler>s.scheduler).notify_of_death(r.number)
    (<TurnScheduler>s.scheduler).discard_pending(r.number)


cdef bint can_report(rank_t *r, int number) noexcept nogil:
    """Whether the death of the rank `number` can be reported to `r` now, for the first time."""
    cdef rank_t *other = &r.simulation.ranks[number]
    # Its slot in the shared memory may still change until its thread has ended.
    return (
        other.dead and not other.active and not r.reported[number]
        and r.simulation.clock >= other.report_at
    )


cdef void report_death(rank_t *r, int number) noexcept nogil:
    """Note that the death of the rank `number` is reported to `r`."""
    r.reported[number] = True
    record_change(r.simulation, r.number, DEATH_REPORTED)


cdef void end_report_delay(simulation_t *s, int number) noexcept nogil:
    """Allow the report of a death from now on: a rank has found out by itself."""
    if 0 <= number < s.n and s.ranks[number].dead:
        s.ranks[number].report_at = s.clock


# ------------------------------------------------------------------ the Python class

def _ignore(*_):
    """Do nothing."""


cdef class TurnScheduler:
    """Runs ranks in turns, on a virtual clock.

    Parameters
    ----------
    n : int
        The number of ranks.
    seed : int
        Determines the whole run.
    preempt : int
        How many of 1024 steps suspend the rank.

    Attributes
    ----------
    on_change : callable
        Called at a switch after something has changed, to check invariants.
    on_timeout : callable
        Called with the reason when a limit of `set_limits` is exceeded; it should raise.
    on_death : callable
        Called with the number of a rank that dies.
    error : BaseException or None
        The first error of these callbacks or of an event. It halts the ranks.
    """

    def __cinit__(self, int n, *_, **__):
        cdef int i
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        self.events = []
        self.on_change = self.on_timeout = self.on_death = _ignore
        self.simulation.ranks = <rank_t *>calloc(n, sizeof(rank_t))
        if self.simulation.ranks == NULL:
            raise MemoryError()
        self.simulation.scheduler = <void *>self
        self.simulation.n = n
        self.simulation.next_event = INT64_MAX
        self.simulation.deadline = self.simulation.max_idle = INT64_MAX
        self.simulation.clock = START_NS
        for i in range(n):
            self.simulation.ranks[i].simulation = &self.simulation
            self.simulation.ranks[i].number = i
            self.simulation.ranks[i].active = True
            self.simulation.ranks[i].wake_at = START_NS + i
            self.simulation.ranks[i].death_step = -1
            sem_init(&self.simulation.ranks[i].turn, 0, 0)
            self.simulation.ranks[i].reported = <uint8_t *>calloc(n, 1)
            if self.simulation.ranks[i].reported == NULL:
                raise MemoryError()

    def __init__(self, int n, seed, int preempt=0):
        self.simulation.random_state = <uint64_t>seed
        self.simulation.preempt = preempt

    def __dealloc__(self):
        cdef int i
        if self.simulation.ranks == NULL:
            return
        for i in range(self.simulation.n):
            sem_destroy(&self.simulation.ranks[i].turn)
            free(self.simulation.ranks[i].reported)
        free(self.simulation.ranks)

    cdef rank_t *rank(self, int number) except NULL:
        if not 0 <= number < self.simulation.n:
            raise IndexError(
                f"rank must lie between 0 and {self.simulation.n - 1}, got {number}"
            )
        return &self.simulation.ranks[number]

    cdef void discard_pending(self, int number) noexcept nogil:
        pass

    # Ranks

    def start(self, int rank):
        """Run a rank in the calling thread, once it has the turn. Rank 0 has it first."""
        cdef rank_t *r = self.rank(rank)
        if rank:
            wait_for_turn(r)

    def finish(self, int rank):
        """End a rank, and give the turn to another one."""
        cdef rank_t *r = self.rank(rank)
        r.active = False
        record_change(&self.simulation, rank, FINISHED)
        switch_rank(r)

    def advance(self, int rank, int64_t ns):
        """Let a rank be busy for a time; return whether it can continue."""
        cdef rank_t *r = self.rank(rank)
        if not is_stopped(r):
            pause(r, ns)
        return not is_stopped(r)

    def step(self, int rank):
        """Take a step, at which a rank may die or be preempted; return whether it can continue."""
        return take_step(self.rank(rank))

    def wake(self, int rank):
        """Wake a rank if it is asleep."""
        cdef rank_t *r = self.rank(rank)
        if r.asleep:
            r.wake_at = min(r.wake_at, self.simulation.clock + 1)

    # Control

    def call_at(self, int64_t ns, event):
        """Call `event()` at the time `ns`."""
        heapq.heappush(self.events, (ns, self.n_events, event))
        self.n_events += 1
        self.simulation.next_event = self.events[0][0]

    def kill(self, int rank):
        """Let a rank die now. Only for use in events."""
        kill_rank(self.rank(rank))

    def set_limits(self, int64_t deadline, int64_t max_idle):
        """Call `on_timeout` after the time `deadline`, or after `max_idle` ns without a change."""
        self.simulation.deadline = deadline
        self.simulation.max_idle = max_idle

    def record_change(self):
        """Record a change that the steps of the ranks do not show."""
        record_change(&self.simulation, 0, CHANGED_BY_PYTHON)

    cdef void run_next_event(self) noexcept with gil:
        ns, _, event = heapq.heappop(self.events)
        self.simulation.next_event = self.events[0][0] if self.events else INT64_MAX
        self.simulation.clock = max(self.simulation.clock, <int64_t>ns)
        record_change(&self.simulation, 0, EVENT)
        self.call(event)

    cdef void check(self) noexcept with gil:
        """Check the limits, and call `on_change`."""
        cdef simulation_t *s = &self.simulation
        if s.clock > s.deadline:
            self.call(self.on_timeout, ("the run has exceeded its deadline",))
        elif s.clock - s.last_change > s.max_idle:
            self.call(self.on_timeout, ("the run makes no progress",))
        self.call(self.on_change)

    cdef void notify_of_death(self, int rank) noexcept with gil:
        self.call(self.on_death, (rank,))

    cdef int call(self, f, tuple args=()) except -1:
        """Call a callback; halt the simulation if it raises."""
        try:
            f(*args)
        except BaseException as error:
            self.halt(error)
        return 0

    def halt(self, error):
        """Let all ranks end; the first `error` is kept."""
        cdef int i
        if self.error is None:
            self.error = error
        self.simulation.halted = True
        for i in range(self.simulation.n):
            self.simulation.ranks[i].wake_at = self.simulation.clock

    # State

    def is_dead(self, int rank):
        """Whether a rank has died."""
        return self.rank(rank).dead

    @property
    def clock(self):
        """The virtual time in ns."""
        return self.simulation.clock

    @property
    def trace(self):
        """A hash of all changes and their times."""
        return self.simulation.trace

    @property
    def n_switches(self):
        """The number of switches from one rank to another."""
        return self.simulation.n_switches
