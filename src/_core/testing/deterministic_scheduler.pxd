# Ranks in threads of which one runs at a time, and their virtual clock.
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass

# The changes of a simulation. The numbers are part of the trace.
cdef enum:
    DIED = 1
    DEATH_REPORTED = 2
    SENT = 3
    RECEIVED = 4
    FINISHED = 5
    CHANGED_BY_PYTHON = 6
    EVENT = 7

ctypedef struct rank_t:
    simulation_t *simulation
    int number
    sem_t turn
    int64_t wake_at
    bint asleep  # whether it may be woken before `wake_at`
    bint active  # whether its thread takes part
    bint dead
    int64_t steps
    int64_t death_step  # the step at which it dies; -1: none
    int64_t dead_ns  # its own time since its death
    int64_t report_delay  # the least time from its death to its report to other ranks
    int64_t report_at
    uint8_t *reported  # by rank: whether this rank knows that the other one is dead

ctypedef struct simulation_t:
    void *scheduler
    rank_t *ranks
    int n
    int64_t clock
    int64_t next_event
    int64_t deadline
    int64_t max_idle
    int64_t last_change
    uint64_t random_state
    uint64_t trace
    int64_t n_switches
    int preempt
    bint changed  # since the last switch
    bint halted

cdef inline bint is_stopped(rank_t *r) noexcept nogil:
    """Whether a rank must end, since it is dead or the simulation was halted."""
    return r.dead or r.simulation.halted

cdef inline uint64_t next_random(simulation_t *s) noexcept nogil:
    """Return the next random number (splitmix64)."""
    cdef uint64_t z
    s.random_state += <uint64_t>0x9E3779B97F4A7C15
    z = s.random_state
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)

cdef inline void record_change(simulation_t *s, int rank, int kind) noexcept nogil:
    """Add a change to the trace; `on_change` is called at the next switch."""
    s.trace = (s.trace ^ <uint64_t>s.clock) * <uint64_t>0x100000001B3
    s.trace = (s.trace ^ <uint64_t>(rank << 8 | kind)) * <uint64_t>0x100000001B3
    s.last_change = s.clock
    s.changed = True

cdef bint take_step(rank_t *r) noexcept nogil
cdef void sleep_until(rank_t *r, int64_t wake_at) noexcept nogil
cdef int64_t time_of(rank_t *r) noexcept nogil
cdef void kill_rank(rank_t *r) noexcept nogil
cdef bint can_report(rank_t *r, int number) noexcept nogil
cdef void report_death(rank_t *r, int number) noexcept nogil
cdef void end_report_delay(simulation_t *s, int number) noexcept nogil

cdef class TurnScheduler:
    cdef simulation_t simulation
    cdef list events
    cdef int64_t n_events
    cdef public object on_change, on_timeout, on_death
    cdef readonly object error

    cdef rank_t *rank(self, int number) except NULL
    cdef void run_next_event(self) noexcept nogil
    cdef void check(self) noexcept nogil
    cdef void notify_of_death(self, int rank) noexcept nogil
    cdef int call(self, f, tuple args=*) except -1
    # Called when a rank has died; subclasses override this.
    cdef void discard_pending(self, int number) noexcept nogil
