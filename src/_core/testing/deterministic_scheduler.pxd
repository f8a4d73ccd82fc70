# Ranks in threads, of which only the one with the turn goes, and the clock that they live by.
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass

# What can happen. The numbers go into the trace: with others, seeds give other traces.
cdef enum:
    DIED = 1
    TOLD = 2
    SENT = 3
    TAKEN = 4
    LEFT = 5
    CALL_OPTIONS = 6  # by Python
    EVENT = 7

ctypedef struct rank_t:
    world_t *world
    int number
    sem_t turn
    int64_t wake
    bint asleep  # it may be woken before `wake`
    bint there
    bint dead
    int64_t steps
    int64_t last_step  # at which it dies; -1: never
    int64_t ending  # its own time, from its death on
    int64_t told_after  # from its death until others may know
    int64_t told_at
    uint8_t *told  # by rank: that it is dead

ctypedef struct world_t:
    void *scheduler
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
    int preempt
    bint dirty
    bint halted

# Whether a rank can do nothing but end.
cdef inline bint is_over(rank_t *r) noexcept nogil:
    return r.dead or r.world.halted

cdef inline uint64_t draw(world_t *w) noexcept nogil:
    """Return the next random number (splitmix64)."""
    cdef uint64_t z
    w.seed += <uint64_t>0x9E3779B97F4A7C15
    z = w.seed
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)

cdef inline void touch(world_t *w, int rank, int what) noexcept nogil:
    """Something happened: it goes into the trace, and all laws are checked after it."""
    w.trace = (w.trace ^ <uint64_t>w.clock) * <uint64_t>0x100000001B3
    w.trace = (w.trace ^ <uint64_t>(rank << 8 | what)) * <uint64_t>0x100000001B3
    w.touched = w.clock
    w.dirty = True

cdef bint take_step(rank_t *r) noexcept nogil
cdef void sleep_until(rank_t *r, int64_t wake) noexcept nogil
cdef int64_t time_of(rank_t *r) noexcept nogil
cdef void die(rank_t *r) noexcept nogil
cdef bint is_news(rank_t *r, int number) noexcept nogil
cdef void tell(rank_t *r, int number) noexcept nogil
cdef void reveal(world_t *w, int number) noexcept nogil

cdef class TurnScheduler:
    cdef world_t world
    cdef list events
    cdef int64_t n_events
    cdef public object on_pass, on_late, on_death
    cdef readonly object trouble

    cdef rank_t *rank(self, int number) except NULL
    cdef void happen(self) noexcept nogil
    cdef void look(self) noexcept nogil
    cdef void tell_of_death(self, int rank) noexcept nogil
    cdef int call(self, f, tuple args=*) except -1
    # What else a death means, for who adds to a rank to override.
    cdef void discard_pending(self, int number) noexcept nogil
