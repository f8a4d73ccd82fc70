# Which waiting job goes to which worker.
#
# Without special jobs the plain ones are spread over the workers with credit. Special jobs are
# merged with them: first the highest priority, then the smallest number. A placement whose first
# job must wait is *blocked* for the rest of the round, and the round goes on with the others.
#
# A plain job that needs large results goes to the worker that keeps them, before older jobs, if
# that has credit left when the job becomes ready, or before another worker has nothing else to do.
# So arrays are not sent, and are dropped soon after they were made.
from bsbpool._core.bits cimport bits_add
from bsbpool._core.scheduling.dispatcher_tables cimport (
    FAULT_NO_MEMORY,
    REFUSE_JOB,
    SEND_JOB,
    dispatcher_t,
    fail,
    record_action,
    set_status,
)
from bsbpool._core.scheduling.data_workers cimport worker_with_inputs
from bsbpool._core.scheduling.eligible_workers cimport is_allowed, update_possible
from bsbpool._core.scheduling.gang_assignment cimport advance_gang, place_gang
from bsbpool._core.scheduling.gang_tables cimport NO_GANG
from bsbpool._core.scheduling.local_jobs cimport (
    local_may_overtake,
    local_open,
    local_pop,
    local_push,
    local_sort_fresh,
    local_stack_t,
)
from bsbpool._core.scheduling.ready cimport (
    ready_first,
    ready_has,
    ready_pop,
    ready_remove,
)
from bsbpool._core.scheduling.resources cimport NO_DEMAND, resources_reserve
from bsbpool._core.scheduling.special cimport (
    NO_PLACEMENT,
    REFUSED,
    conditions_free,
    placement_t,
    special_t,
    specials_best,
    specials_first,
    specials_remove,
    specials_unblock,
)
from bsbpool._core.scheduling.status cimport RUNNING
from bsbpool._core.scheduling.waiting cimport plain_precedes
from bsbpool._core.scheduling.worker_sets cimport NO_SET
from bsbpool._core.scheduling.workers cimport (
    NO_WORKER,
    NOT_LISTED,
    worker_t,
    workers_list,
    workers_next,
    workers_share,
    workers_unlist,
)
from bsbpool._core.vector cimport ints_push, ints_t
from libc.stdint cimport INT32_MAX, int32_t, int64_t

cdef enum:
    ALL_JOBS = -1  # in place of the job before which the plain jobs come

ctypedef struct choice_t:
    int32_t worker  # that can get the job now
    int32_t load
    int32_t busy  # that could get the job if it had no others
    int32_t busy_load


# ------------------------------------------------------------------ plain jobs

cdef inline int queues_assign(dispatcher_t *d) noexcept nogil:
    """Assign waiting jobs to workers with credit left; append a SEND_JOB action for each."""
    if d.local.fresh.size and assign_fresh(d) < 0:
        return d.fault
    if d.special.n_ready and not d.aborted:
        return assign_merged(d)
    return assign_plain(d, ALL_JOBS)


cdef inline int assign_plain(dispatcher_t *d, int32_t before) noexcept nogil:
    """Assign plain jobs, only those with smaller numbers than `before` unless it is ALL_JOBS."""
    cdef int32_t worker
    cdef int64_t share
    cdef int64_t candidates
    while d.ready.count and not d.aborted:
        if before != ALL_JOBS and ready_first(&d.ready) > before:
            return 0
        candidates = d.workers.idle.size + d.workers.spare.size
        if d.workers.hold_ns:
            workers_share(&d.workers, d.ready.count)
        worker = workers_next(&d.workers)
        if worker == NO_WORKER:
            return 0
        share = share_of(d, worker, d.ready.count, candidates)
        share = min(share, d.workers.most_each - d.workers.slots[worker].in_flight)
        # Less than 1 if it was listed when more jobs were ready; `queues_done` lists it again.
        if share < 1:
            continue
        while share and d.ready.count:
            if before != ALL_JOBS and ready_first(&d.ready) > before:
                break
            if enqueue(d, worker, plain_for(d, worker, before)) < 0:
                return d.fault
            share -= 1
        workers_list(&d.workers, worker)
    return 0


cdef inline int64_t share_of(
    dispatcher_t *d, int32_t worker, int64_t n_jobs, int64_t candidates
) noexcept nogil:
    """Return how many of `n_jobs` a worker gets: an equal share, rounded up, within its credit."""
    cdef int64_t share = (n_jobs + candidates - 1) // candidates
    cdef int64_t most = d.workers.slots[worker].credit - d.workers.slots[worker].in_flight
    return most if share > most else share


# ------------------------------------------------------------------ plain jobs with large inputs

cdef inline int assign_fresh(dispatcher_t *d) noexcept nogil:
    """Assign jobs that became ready to the workers with their inputs, or add them to the stacks."""
    cdef int32_t worker
    cdef int32_t job
    cdef int64_t n_left = 0
    cdef int64_t i
    if not local_open(&d.local, d.workers.n):
        d.local.fresh.size = 0
        return 0
    local_sort_fresh(&d.local)
    for i in range(d.local.fresh.size):
        job = d.local.fresh.data[i]
        if not ready_has(&d.ready, job):
            continue  # it was cancelled
        worker = worker_with_inputs(d, job)
        if worker == NO_WORKER:
            continue
        if not may_get_now(d, worker, job):
            d.local.fresh.data[n_left] = job
            n_left += 1
            continue
        ready_remove(&d.ready, job)
        workers_unlist(&d.workers, worker)
        if enqueue(d, worker, job) < 0:
            return d.fault
        workers_list(&d.workers, worker)
    for i in range(n_left - 1, -1, -1):  # so that the oldest is on top
        job = d.local.fresh.data[i]
        local_push(&d.local, worker_with_inputs(d, job), job)
    d.local.fresh.size = 0
    return 0


cdef inline bint may_get_now(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """Whether a worker gets a job with inputs before others are considered."""
    cdef worker_t *slot = &d.workers.slots[worker]
    if slot.list == NOT_LISTED or d.special.n_ready or d.aborted:
        return False
    if slot.in_flight > 1 and d.workers.idle.size:
        return False  # it would wait, and another worker has nothing to do
    return local_may_overtake(&d.local, worker, job == ready_first(&d.ready))


cdef inline int32_t plain_for(dispatcher_t *d, int32_t worker, int32_t before) noexcept nogil:
    """Remove and return the next ready job of a worker: one of its stack, or the first of all."""
    cdef local_stack_t *stack
    cdef int32_t job
    if d.local.n == 0:
        return ready_pop(&d.ready)
    stack = &d.local.stacks[worker]
    while stack.jobs.size:
        job = stack.jobs.data[stack.jobs.size - 1]
        if ready_has(&d.ready, job):
            if before != ALL_JOBS and job > before:
                break
            if not local_may_overtake(&d.local, worker, job == ready_first(&d.ready)):
                break
            local_pop(&d.local, worker)
            ready_remove(&d.ready, job)
            return job
        local_pop(&d.local, worker)
    stack.n_overtaking = 0
    return ready_pop(&d.ready)


# ------------------------------------------------------------------ queues

cdef inline int enqueue(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """Append a job to the queue of a worker."""
    cdef worker_t *slot = &d.workers.slots[worker]
    d.jobs[job].worker = worker
    d.jobs[job].next = -1
    if slot.in_flight:
        d.jobs[slot.last].next = job
        bits_add(&d.workers.deep, worker)
    else:
        slot.first = job
    slot.last = job
    if d.workers.one_each:
        d.workers.n_used += 1
        slot.last_used = d.workers.n_used
    slot.in_flight += 1
    d.workers.in_flight += 1
    if record_action(d, SEND_JOB, worker, job) < 0:
        return d.fault
    # The first job of the queue is the one that runs, so workers do not report starts.
    return set_status(d, job, RUNNING) if slot.first == job else 0


# ------------------------------------------------------------------ special jobs

cdef inline int assign_merged(dispatcher_t *d) noexcept nogil:
    """Assign plain and special jobs in their common order."""
    cdef int32_t best
    cdef special_t *entry
    cdef int64_t i
    specials_unblock(&d.special)
    d.special.held.size = 0
    d.special.wake_at = 0
    if d.special.gangs.next_up != NO_GANG and advance_gang(d) < 0:
        return d.fault
    best = specials_best(&d.special)
    while best != NO_PLACEMENT:
        entry = specials_first(&d.special, best)
        if plain_precedes(d, entry):
            if assign_plain(d, entry.job if entry.priority == 0 else ALL_JOBS) < 0:
                return d.fault
            if plain_precedes(d, entry):
                break  # no worker has credit left
        if place(d, best) < 0:
            return d.fault
        best = specials_best(&d.special)
    if best == NO_PLACEMENT and assign_plain(d, ALL_JOBS) < 0:
        return d.fault
    for i in range(d.special.held.size):
        workers_list(&d.workers, d.special.held.data[i])
    return 0


cdef inline int place(dispatcher_t *d, int32_t number) noexcept nogil:
    """Assign the first job of a placement, and maybe more; or block the placement."""
    cdef placement_t *chosen = &d.special.placements[number]
    cdef special_t *entry = specials_first(&d.special, number)
    cdef int32_t worker
    if chosen.n_lost != d.workers.n_lost:
        update_possible(d, chosen)
    if not chosen.possible:
        specials_remove(&d.special, entry)
        entry.place = REFUSED
        return record_action(d, REFUSE_JOB, NO_WORKER, entry.job)
    if chosen.conditions.n_ranks:
        return place_gang(d, number)
    if conditions_free(&chosen.conditions):
        return place_anywhere(d, number)
    worker = choose(d, chosen, entry)
    if worker == NO_WORKER:
        chosen.blocked = True
        return 0
    workers_unlist(&d.workers, worker)
    if give(d, worker, entry) < 0:
        return d.fault
    workers_list(&d.workers, worker)
    return 0


cdef inline int place_anywhere(dispatcher_t *d, int32_t number) noexcept nogil:
    """Assign jobs of a placement without conditions to one worker."""
    cdef placement_t *chosen = &d.special.placements[number]
    cdef int64_t candidates = d.workers.idle.size + d.workers.spare.size
    cdef int32_t worker = workers_next(&d.workers)
    cdef int64_t share
    if worker == NO_WORKER:
        chosen.blocked = True
        return 0
    share = share_of(d, worker, chosen.heap.size, candidates)
    while share:
        if give(d, worker, specials_first(&d.special, number)) < 0:
            return d.fault
        share -= 1
        if chosen.heap.size == 0 or specials_best(&d.special) != number:
            break
        if plain_precedes(d, specials_first(&d.special, number)):
            break
    workers_list(&d.workers, worker)
    return 0


cdef inline int give(dispatcher_t *d, int32_t worker, special_t *entry) noexcept nogil:
    """Append a waiting special job to the queue of a worker, with what it needs."""
    specials_remove(&d.special, entry)
    if entry.conditions.demand != NO_DEMAND:
        entry.reservation = resources_reserve(
            &d.special.resources, worker, entry.conditions.demand
        )
        if entry.reservation < 0:
            return fail(d, FAULT_NO_MEMORY)
    return enqueue(d, worker, entry.job)


# ------------------------------------------------------------------ the choice of a worker

cdef inline int32_t choose(
    dispatcher_t *d, placement_t *chosen, special_t *entry
) noexcept nogil:
    """Return the worker for the first job of a placement, or NO_WORKER if it must wait."""
    cdef choice_t choice = choice_t(NO_WORKER, INT32_MAX, NO_WORKER, INT32_MAX)
    if chosen.conditions.preferred != NO_SET:
        consider_set(d, chosen, chosen.conditions.preferred, &choice)
        if choice.worker != NO_WORKER:
            return choice.worker
        if d.special.now < entry.deadline and any_alive(d, chosen):
            if d.special.wake_at == 0 or entry.deadline < d.special.wake_at:
                d.special.wake_at = entry.deadline
            return NO_WORKER
    if chosen.conditions.targets != NO_SET:
        consider_set(d, chosen, chosen.conditions.targets, &choice)
    else:
        consider_list(d, chosen, &d.workers.idle, &choice)
        if choice.worker == NO_WORKER:
            consider_list(d, chosen, &d.workers.spare, &choice)
    if choice.worker == NO_WORKER and choice.busy != NO_WORKER:
        # No later job goes to this worker, so that it will have no jobs soon.
        workers_unlist(&d.workers, choice.busy)
        if ints_push(&d.special.held, choice.busy) < 0:
            workers_list(&d.workers, choice.busy)  # then it is just not held
    return choice.worker


cdef inline bint any_alive(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Whether a preferred worker may become free for the jobs of a placement."""
    cdef int32_t number = chosen.conditions.preferred
    cdef int64_t start = d.special.sets.sets[number].start
    cdef int32_t worker
    cdef int64_t i
    for i in range(start, start + d.special.sets.sets[number].size):
        worker = d.special.sets.members.data[i]
        if not d.workers.slots[worker].lost and is_allowed(d, chosen, worker, False):
            return True
    return False


cdef inline void consider_set(
    dispatcher_t *d, placement_t *chosen, int32_t number, choice_t *choice
) noexcept nogil:
    cdef int64_t start = d.special.sets.sets[number].start
    cdef int64_t i
    for i in range(start, start + d.special.sets.sets[number].size):
        consider(d, chosen, d.special.sets.members.data[i], choice)
        if choice.load == 0 and not d.workers.one_each:
            return


cdef inline void consider_list(
    dispatcher_t *d, placement_t *chosen, ints_t *listed, choice_t *choice
) noexcept nogil:
    cdef int64_t i
    for i in range(listed.size - 1, -1, -1):
        consider(d, chosen, listed.data[i], choice)
        if choice.load == 0 and not d.workers.one_each:
            return


cdef inline void consider(
    dispatcher_t *d, placement_t *chosen, int32_t worker, choice_t *choice
) noexcept nogil:
    """Choose a worker if it may run the job, has credit, and holds fewer jobs than the choice."""
    cdef worker_t *slot = &d.workers.slots[worker]
    if slot.list == NOT_LISTED or not is_allowed(d, chosen, worker, True):
        return
    if chosen.conditions.alone and slot.in_flight:
        if slot.in_flight < choice.busy_load:
            choice.busy = worker
            choice.busy_load = slot.in_flight
    elif slot.in_flight < choice.load or (
        d.workers.one_each
        and slot.in_flight == choice.load
        and slot.last_used < d.workers.slots[choice.worker].last_used
    ):
        choice.worker = worker
        choice.load = slot.in_flight
