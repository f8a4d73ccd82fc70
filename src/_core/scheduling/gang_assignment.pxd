# Which workers run the next job on several workers.
#
# A gang starts as soon as enough workers have no jobs. Otherwise workers are reserved for it, if it
# is the first gang in the order of the waiting jobs: those without jobs, and busy ones, which get
# no further jobs. It starts when all of them have none. Meanwhile a busy one is replaced by any
# other that has none. So a gang starts at the latest when the jobs have ended that had been sent
# when its reservation began, whatever is queued later. Reservations are for one gang at a time, and
# a gang never holds some workers while it waits for those that another gang has reserved: there is
# no deadlock.
from bsbpool._core.scheduling.dispatcher_tables cimport (
    FAULT_NO_MEMORY,
    SEND_GANG,
    dispatcher_t,
    fail,
    record_action,
    set_status,
)
from bsbpool._core.scheduling.gang_tables cimport (
    ANY_NODE,
    NO_GANG,
    gang_t,
    gangs_add,
    gangs_t,
)
from bsbpool._core.scheduling.special cimport (
    placement_t,
    special_t,
    specials_first,
    specials_remove,
)
from bsbpool._core.scheduling.status cimport RUNNING, SUCCESS
from bsbpool._core.scheduling.waiting cimport gang_release_all
from bsbpool._core.scheduling.worker_sets cimport NO_SET, worker_sets_has
from bsbpool._core.scheduling.workers cimport (
    FIRST_CREDIT,
    IN_IDLE,
    NO_WORKER,
    worker_t,
    workers_release,
    workers_reserve,
    workers_unlist,
)
from bsbpool._core.vector cimport ints_push, ints_t
from libc.stdint cimport INT32_MAX, int32_t, int64_t


# ------------------------------------------------------------------ in a round

cdef inline int advance_gang(dispatcher_t *d) noexcept nogil:
    """Start the gang for which workers are reserved, if all of these have no jobs."""
    cdef special_t *entry = &d.special.entries[d.special.gangs.next_up]
    if complete_reservation(d, &d.special.placements[entry.placement]):
        return start_if_free(d, entry)
    gang_release_all(d)  # too few workers can get jobs now
    return 0


cdef inline int place_gang(dispatcher_t *d, int32_t number) noexcept nogil:
    """Start the first gang of a placement, or reserve workers for it; or block the placement."""
    cdef placement_t *chosen = &d.special.placements[number]
    cdef special_t *entry = specials_first(&d.special, number)
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t index = <int32_t>(entry - d.special.entries)
    if g.next_up != index:
        if find_idle(d, chosen) < 0:
            return d.fault
        if g.found.size == chosen.conditions.n_ranks:
            return start_gang(d, entry, &g.found)
        if g.next_up == NO_GANG:
            g.next_up = index
            g.node = node_for(d, chosen)
            if complete_reservation(d, chosen):
                chosen.blocked = True
                return start_if_free(d, entry)
            gang_release_all(d)
    chosen.blocked = True
    return d.fault


cdef inline int start_if_free(dispatcher_t *d, special_t *entry) noexcept nogil:
    """Start the gang for which workers are reserved, unless one of them has a job."""
    cdef gangs_t *g = &d.special.gangs
    cdef int64_t i
    for i in range(g.reserved.size):
        if d.workers.slots[g.reserved.data[i]].in_flight:
            return 0
    g.found.size = 0
    for i in range(g.reserved.size):
        if ints_push(&g.found, g.reserved.data[i]) < 0:
            return fail(d, FAULT_NO_MEMORY)
    gang_release_all(d)
    return start_gang(d, entry, &g.found)


cdef inline int start_gang(
    dispatcher_t *d, special_t *entry, ints_t *workers
) noexcept nogil:
    """Let workers without jobs run a job together."""
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t number = gangs_add(g)
    cdef int32_t job = entry.job
    cdef worker_t *slot
    cdef gang_t *gang
    cdef int64_t i
    if number < 0:
        return fail(d, FAULT_NO_MEMORY)
    gang = &g.data[number]
    gang.job = job
    gang.failed_on = NO_WORKER
    gang.outcome = SUCCESS
    gang.retries = gang.lost = False
    for i in range(workers.size):
        if ints_push(&gang.members, workers.data[i]) < 0:
            return fail(d, FAULT_NO_MEMORY)
    sort(&gang.members)
    gang.n_left = <int32_t>gang.members.size
    entry.gang = number
    specials_remove(&d.special, entry)
    for i in range(gang.members.size):
        workers_unlist(&d.workers, gang.members.data[i])
        slot = &d.workers.slots[gang.members.data[i]]
        slot.first = slot.last = job
        slot.in_flight = 1
        slot.credit = FIRST_CREDIT  # so that no job is added behind this one
        if d.workers.one_each:
            d.workers.n_used += 1
            slot.last_used = d.workers.n_used
    d.workers.in_flight += gang.members.size
    d.jobs[job].worker = gang.members.data[0]
    d.jobs[job].next = -1
    if record_action(d, SEND_GANG, gang.members.data[0], job) < 0:
        return d.fault
    return set_status(d, job, RUNNING)


cdef inline void sort(ints_t *v) noexcept nogil:
    """Sort workers; they are nearly sorted, or few, in most cases."""
    cdef int64_t i
    cdef int64_t j
    cdef int32_t value
    for i in range(1, v.size):
        value = v.data[i]
        j = i
        while j and v.data[j - 1] > value:
            v.data[j] = v.data[j - 1]
            j -= 1
        v.data[j] = value


# ------------------------------------------------------------------ the choice of workers

cdef inline bint may_join(
    dispatcher_t *d, placement_t *chosen, int32_t worker, int32_t node
) noexcept nogil:
    """Whether a worker may be a member of the gangs of a placement."""
    return (
        worker_sets_has(&d.special.sets, chosen.conditions.targets, worker)
        and (worker != chosen.conditions.excluded or chosen.only_excluded)
        and (node == ANY_NODE or d.special.gangs.node_of[worker] == node)
    )


cdef inline int find_idle(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Set `found` to workers without jobs for a gang; to fewer if there are not enough."""
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t node = ANY_NODE
    g.found.size = 0
    if d.workers.idle.size < chosen.conditions.n_ranks:
        return 0
    if chosen.conditions.same_node and g.node_of != NULL:
        node = idle_node(d, chosen)
        if node == ANY_NODE and has_node(d, chosen):
            return 0  # workers of such a node are reserved
    return collect_idle(d, chosen, node)


cdef inline int collect_idle(
    dispatcher_t *d, placement_t *chosen, int32_t node
) noexcept nogil:
    cdef gangs_t *g = &d.special.gangs
    cdef ints_t *idle = &d.workers.idle
    cdef int32_t worker
    cdef int64_t i
    for i in range(idle.size - 1, -1, -1):
        worker = idle.data[i]
        if may_join(d, chosen, worker, node):
            if ints_push(&g.found, worker) < 0:
                return fail(d, FAULT_NO_MEMORY)
            if g.found.size == chosen.conditions.n_ranks:
                return 0
    return 0


cdef inline bint complete_reservation(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Reserve workers until there are enough; return False if there are not so many.

    Those that cannot get jobs any more are dropped, and busy ones are replaced by idle ones.
    """
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t n_ranks = chosen.conditions.n_ranks
    cdef int32_t worker
    cdef int64_t i = 0
    while i < g.reserved.size:
        worker = g.reserved.data[i]
        if d.workers.slots[worker].reserved:
            i += 1
        else:
            g.reserved.size -= 1
            g.reserved.data[i] = g.reserved.data[g.reserved.size]
    while g.reserved.size < n_ranks:
        worker = next_idle(d, chosen)
        if worker == NO_WORKER:
            break
        if not reserve(d, worker):
            return False
    for i in range(g.reserved.size):
        if d.workers.slots[g.reserved.data[i]].in_flight:
            worker = next_idle(d, chosen)
            if worker == NO_WORKER:
                break
            workers_reserve(&d.workers, worker)
            workers_release(&d.workers, g.reserved.data[i])
            g.reserved.data[i] = worker
    while g.reserved.size < n_ranks:
        worker = next_busy(d, chosen)
        if worker == NO_WORKER or not reserve(d, worker):
            return False
    return True


cdef inline bint reserve(dispatcher_t *d, int32_t worker) noexcept nogil:
    if ints_push(&d.special.gangs.reserved, worker) < 0:
        return False
    workers_reserve(&d.workers, worker)
    return True


cdef inline int32_t next_idle(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Return a worker without jobs that is not reserved, or NO_WORKER."""
    cdef int32_t node = d.special.gangs.node
    cdef int64_t start
    cdef int64_t i
    if chosen.conditions.targets != NO_SET:
        start = d.special.sets.sets[chosen.conditions.targets].start
        for i in range(start, start + d.special.sets.sets[chosen.conditions.targets].size):
            if d.workers.slots[d.special.sets.members.data[i]].list == IN_IDLE and may_join(
                d, chosen, d.special.sets.members.data[i], node
            ):
                return d.special.sets.members.data[i]
        return NO_WORKER
    for i in range(d.workers.idle.size - 1, -1, -1):
        if may_join(d, chosen, d.workers.idle.data[i], node):
            return d.workers.idle.data[i]
    return NO_WORKER


cdef inline int32_t next_busy(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Return a worker with jobs that is not reserved, or NO_WORKER.

    Which one does not matter much, as the first other one that has none replaces it.
    """
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t worker
    for _ in range(d.workers.n):
        worker = g.cursor
        g.cursor = worker + 1 if worker + 1 < d.workers.n else 0
        if d.workers.slots[worker].available and may_join(d, chosen, worker, g.node):
            return worker
    return NO_WORKER


# ------------------------------------------------------------------ nodes

cdef inline bint count_nodes(dispatcher_t *d, placement_t *chosen, bint idle) noexcept nogil:
    """Count the workers of each node that can get jobs, or only those without jobs."""
    cdef gangs_t *g = &d.special.gangs
    cdef worker_t *slot
    cdef int32_t worker
    cdef int64_t i
    g.counts.size = 0
    for _ in range(g.n_nodes):
        if ints_push(&g.counts, 0) < 0:
            return False
    if idle:
        for i in range(d.workers.idle.size):
            worker = d.workers.idle.data[i]
            g.counts.data[g.node_of[worker]] += may_join(d, chosen, worker, ANY_NODE)
        return True
    for worker in range(d.workers.n):
        slot = &d.workers.slots[worker]
        if slot.available or slot.reserved:
            g.counts.data[g.node_of[worker]] += may_join(d, chosen, worker, ANY_NODE)
    return True


cdef inline int32_t idle_node(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Return the node with the fewest workers without jobs that are enough, or ANY_NODE."""
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t best = ANY_NODE
    cdef int32_t fewest = INT32_MAX
    cdef int32_t i
    if not count_nodes(d, chosen, True):
        return ANY_NODE
    for i in range(g.n_nodes):
        if chosen.conditions.n_ranks <= g.counts.data[i] < fewest:
            best = i
            fewest = g.counts.data[i]
    return best


cdef inline int32_t node_for(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Return the node whose workers are reserved, of those with enough: the most idle one."""
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t best = ANY_NODE
    cdef int32_t most = -1
    cdef int32_t worker
    cdef int32_t i
    if not chosen.conditions.same_node or g.node_of == NULL or not count_nodes(d, chosen, False):
        return ANY_NODE
    for i in range(g.n_nodes):  # nodes with too few get a negative number
        g.counts.data[i] = 0 if g.counts.data[i] >= chosen.conditions.n_ranks else -INT32_MAX
    for i in range(<int32_t>d.workers.idle.size):
        worker = d.workers.idle.data[i]
        g.counts.data[g.node_of[worker]] += may_join(d, chosen, worker, ANY_NODE)
    for i in range(g.n_nodes):
        if g.counts.data[i] > most:
            best = i
            most = g.counts.data[i]
    return best


cdef inline bint has_node(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Whether a node has enough workers for the gangs of a placement."""
    cdef gangs_t *g = &d.special.gangs
    cdef int32_t i
    if not count_nodes(d, chosen, False):
        return False
    for i in range(g.n_nodes):
        if g.counts.data[i] >= chosen.conditions.n_ranks:
            return True
    return False
