# Jobs with options: priorities, places where they may run, resources, retries.
#
# Most jobs have none, so what only these jobs need is in a table of its own, sorted by the number
# of the job. The flag SPECIAL of a job tells that it is there. Ready jobs without options are in
# `ready`; special ones wait in the *placement* that has their conditions: the workers where they
# may run, and the resources that they need. All jobs of a placement can run in the same places, so
# if the first one must wait, so must the others, and they cost no time. Each placement has a heap
# of its jobs: the highest priority comes first, then the smallest number.
from bsbpool._core.scheduling.gang_tables cimport NO_GANG, gangs_free, gangs_init, gangs_t
from bsbpool._core.scheduling.resources cimport (
    NO_DEMAND,
    NO_RESERVATION,
    resources_free,
    resources_init,
    resources_t,
)
from bsbpool._core.scheduling.worker_sets cimport (
    NO_SET,
    worker_sets_free,
    worker_sets_init,
    worker_sets_t,
)
from bsbpool._core.vector cimport grow, ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef enum:
    SPECIAL_NO_MEMORY = -2
    NO_PLACEMENT = -1
    # Values in place of the index in the heap of a placement.
    NOT_WAITING = -1
    REFUSED = -2  # about to be ended, since no worker may run it
    N_PLACEMENT_CHAINS = 256

ctypedef struct conditions_t:
    int32_t targets  # the set of workers that it may run on, or NO_SET
    int32_t preferred  # the set of workers that it had better run on, or NO_SET
    int32_t excluded  # a worker that it should not run on, or -1
    int32_t demand  # the resources that it needs, or NO_DEMAND
    int64_t grace_ns  # how long it waits for the preferred workers
    bint alone  # whether it is sent to workers without jobs only
    int32_t n_ranks  # how many workers run it at one time; 0 for one worker, as most jobs
    bint same_node  # whether these had better be of one node

ctypedef struct special_t:
    int32_t job
    int32_t priority
    conditions_t conditions  # as given, without `follow`
    int64_t follow  # the first of the jobs that it follows, in `followed`
    int32_t n_follow
    bint strict  # whether it must run where these ran
    bint elsewhere  # whether a retry runs on another worker
    int32_t placement  # where it waits while it is ready
    int32_t place  # its index in the heap, or NOT_WAITING
    int64_t deadline  # when it stops waiting for the preferred workers
    int32_t retries  # after errors, which are left
    int32_t lost_retries  # after lost workers, which are left
    int32_t attempts  # that were retried
    int32_t reservation
    int32_t gang  # the gang that runs it, or NO_GANG

ctypedef struct placement_t:
    conditions_t conditions
    int32_t next  # the next placement with this hash, or NO_PLACEMENT
    int32_t active  # its index in `active`; -1 while no job waits
    ints_t heap  # the jobs that wait, as indices of `entries`
    bint blocked  # whether its first job was found to wait, in this round
    int32_t n_lost  # the lost workers when `possible` was computed; -1: not yet
    bint possible  # whether enough workers are left that may run its jobs
    bint only_excluded  # whether only the excluded worker can

ctypedef struct specials_t:
    special_t *entries
    int64_t n
    int64_t capacity
    ints_t followed
    placement_t *placements
    int64_t n_placements
    int64_t placement_capacity
    int32_t[N_PLACEMENT_CHAINS] chains  # the first placement of each hash, plus 1
    ints_t active  # the placements with waiting jobs
    ints_t held  # workers that get no more jobs in this round
    ints_t scratch
    int64_t n_ready  # the jobs that wait in all placements
    worker_sets_t sets
    resources_t resources
    gangs_t gangs
    bint timed  # whether a job has a grace time, so that `now` must be set
    int64_t now
    int64_t wake_at  # when a job stops waiting for its preferred workers; 0: never


cdef inline void specials_init(specials_t *s) noexcept nogil:
    memset(s, 0, sizeof(specials_t))
    worker_sets_init(&s.sets)
    resources_init(&s.resources)
    gangs_init(&s.gangs)


cdef inline void specials_free(specials_t *s) noexcept nogil:
    cdef int64_t i
    for i in range(s.n_placements):
        ints_free(&s.placements[i].heap)
    free(s.entries)
    free(s.placements)
    ints_free(&s.followed)
    ints_free(&s.active)
    ints_free(&s.held)
    ints_free(&s.scratch)
    worker_sets_free(&s.sets)
    resources_free(&s.resources)
    gangs_free(&s.gangs)
    specials_init(s)


cdef inline special_t *specials_find(specials_t *s, int32_t job) noexcept nogil:
    """Return the entry of a job that has one."""
    cdef int64_t low = 0
    cdef int64_t high = s.n - 1
    cdef int64_t middle
    while low < high:
        middle = (low + high) // 2
        if s.entries[middle].job < job:
            low = middle + 1
        else:
            high = middle
    return &s.entries[low]


cdef inline special_t specials_default() noexcept nogil:
    """Return an entry without any option."""
    cdef special_t entry
    memset(&entry, 0, sizeof(special_t))
    entry.conditions.targets = entry.conditions.preferred = NO_SET
    entry.conditions.excluded = -1
    entry.conditions.demand = NO_DEMAND
    entry.placement = NO_PLACEMENT
    entry.place = NOT_WAITING
    entry.reservation = NO_RESERVATION
    entry.gang = NO_GANG
    return entry


cdef inline int specials_add(specials_t *s, special_t *entry, int32_t job) noexcept nogil:
    """Add the entry of a job, which is younger than all others. `follow` must be set."""
    if grow(<void **>&s.entries, &s.capacity, s.n + 1, sizeof(special_t)) < 0:
        return SPECIAL_NO_MEMORY
    s.entries[s.n] = entry[0]
    s.entries[s.n].job = job
    s.timed = s.timed or entry.conditions.grace_ns > 0
    s.n += 1
    return 0


# ------------------------------------------------------------------ placements

cdef inline bint conditions_equal(conditions_t *a, conditions_t *b) noexcept nogil:
    return (
        a.targets == b.targets and a.preferred == b.preferred and a.excluded == b.excluded
        and a.demand == b.demand and a.grace_ns == b.grace_ns and a.alone == b.alone
        and a.n_ranks == b.n_ranks and a.same_node == b.same_node
    )


cdef inline bint conditions_free(conditions_t *c) noexcept nogil:
    """Whether a job may run on any worker, as one without options."""
    return (
        c.targets == NO_SET and c.preferred == NO_SET and c.excluded < 0
        and c.demand == NO_DEMAND and not c.alone and c.n_ranks == 0
    )


cdef inline int32_t specials_placement(specials_t *s, conditions_t *wanted) noexcept nogil:
    """Return the placement with these conditions; add it if it is new."""
    cdef uint32_t key = <uint32_t>wanted.targets
    cdef int32_t number
    cdef placement_t *made
    key = key * 31 + <uint32_t>wanted.preferred
    key = key * 31 + <uint32_t>wanted.excluded
    key = key * 31 + <uint32_t>wanted.n_ranks
    key = (key * 31 + <uint32_t>wanted.demand) % N_PLACEMENT_CHAINS
    number = s.chains[key] - 1
    while number != NO_PLACEMENT:
        if conditions_equal(&s.placements[number].conditions, wanted):
            return number
        number = s.placements[number].next
    if grow(
        <void **>&s.placements, &s.placement_capacity, s.n_placements + 1, sizeof(placement_t)
    ) < 0:
        return SPECIAL_NO_MEMORY
    made = &s.placements[s.n_placements]
    memset(made, 0, sizeof(placement_t))
    made.conditions = wanted[0]
    made.next = s.chains[key] - 1
    made.active = made.n_lost = -1
    s.n_placements += 1
    s.chains[key] = <int32_t>s.n_placements
    return <int32_t>(s.n_placements - 1)


# ------------------------------------------------------------------ waiting jobs

cdef inline bint precedes(special_t *a, special_t *b) noexcept nogil:
    return a.priority > b.priority or (a.priority == b.priority and a.job < b.job)


cdef inline special_t *specials_first(specials_t *s, int32_t placement) noexcept nogil:
    """Return the first job of a placement in which jobs wait."""
    return &s.entries[s.placements[placement].heap.data[0]]


cdef inline int32_t specials_best(specials_t *s) noexcept nogil:
    """Return the placement that is not blocked and has the first job, or NO_PLACEMENT."""
    cdef int32_t best = NO_PLACEMENT
    cdef int32_t number
    cdef int64_t i
    for i in range(s.active.size):
        number = s.active.data[i]
        if s.placements[number].blocked:
            continue
        if best == NO_PLACEMENT or precedes(specials_first(s, number), specials_first(s, best)):
            best = number
    return best


cdef inline void specials_unblock(specials_t *s) noexcept nogil:
    """Begin a round: no placement is known to have to wait."""
    cdef int64_t i
    for i in range(s.active.size):
        s.placements[s.active.data[i]].blocked = False


cdef inline int specials_push(specials_t *s, special_t *entry, int32_t placement) noexcept nogil:
    """Let a job wait in a placement."""
    cdef placement_t *chosen = &s.placements[placement]
    if ints_push(&chosen.heap, <int32_t>(entry - s.entries)) < 0:
        return SPECIAL_NO_MEMORY
    if chosen.active < 0:
        if ints_push(&s.active, placement) < 0:
            return SPECIAL_NO_MEMORY
        chosen.active = <int32_t>(s.active.size - 1)
    entry.placement = placement
    entry.place = <int32_t>(chosen.heap.size - 1)
    sift_up(s, &chosen.heap, entry.place)
    s.n_ready += 1
    return 0


cdef inline bint specials_remove(specials_t *s, special_t *entry) noexcept nogil:
    """Let a job wait no longer; return whether it did."""
    cdef int32_t hole = entry.place
    cdef int32_t moved
    cdef placement_t *chosen
    if hole < 0:
        return False
    chosen = &s.placements[entry.placement]
    chosen.heap.size -= 1
    moved = chosen.heap.data[chosen.heap.size]
    entry.place = NOT_WAITING
    s.n_ready -= 1
    if hole < chosen.heap.size:
        put(s, &chosen.heap, hole, moved)
        sift_up(s, &chosen.heap, hole)
        sift_down(s, &chosen.heap, s.entries[moved].place)
    if chosen.heap.size == 0:
        deactivate(s, chosen)
    return True


cdef inline void deactivate(specials_t *s, placement_t *chosen) noexcept nogil:
    s.active.size -= 1
    s.active.data[chosen.active] = s.active.data[s.active.size]
    s.placements[s.active.data[chosen.active]].active = chosen.active
    chosen.active = -1


cdef inline void put(specials_t *s, ints_t *heap, int32_t place, int32_t index) noexcept nogil:
    heap.data[place] = index
    s.entries[index].place = place


cdef inline void sift_up(specials_t *s, ints_t *heap, int32_t place) noexcept nogil:
    cdef int32_t index = heap.data[place]
    cdef int32_t above
    while place:
        above = (place - 1) // 2
        if not precedes(&s.entries[index], &s.entries[heap.data[above]]):
            break
        put(s, heap, place, heap.data[above])
        place = above
    put(s, heap, place, index)


cdef inline void sift_down(specials_t *s, ints_t *heap, int32_t place) noexcept nogil:
    cdef int32_t index = heap.data[place]
    cdef int32_t below = 2 * place + 1
    while below < heap.size:
        if below + 1 < heap.size and precedes(
            &s.entries[heap.data[below + 1]], &s.entries[heap.data[below]]
        ):
            below += 1
        if not precedes(&s.entries[heap.data[below]], &s.entries[index]):
            break
        put(s, heap, place, heap.data[below])
        place = below
        below = 2 * place + 1
    put(s, heap, place, index)
