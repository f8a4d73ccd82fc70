# Ready jobs, which wait for a worker: plain ones in the ready set, special ones in placements.
from bsbpool._core.scheduling.dispatcher_tables cimport (
    FAULT_ILLEGAL,
    FAULT_NO_MEMORY,
    SPECIAL,
    change_t,
    dispatcher_t,
    fail,
    job_t,
    set_status,
)
from bsbpool._core.scheduling.gang_tables cimport NO_GANG, gangs_t
from bsbpool._core.scheduling.ready cimport ready_first, ready_pop, ready_push, ready_remove
from bsbpool._core.scheduling.resources cimport (
    NO_DEMAND,
    NO_RESERVATION,
    resources_fit,
    resources_release,
    resources_reserve,
)
from bsbpool._core.scheduling.special cimport (
    conditions_t,
    special_t,
    specials_best,
    specials_find,
    specials_first,
    specials_placement,
    specials_push,
    specials_remove,
    specials_unblock,
)
from bsbpool._core.scheduling.status cimport QUEUED
from bsbpool._core.scheduling.worker_sets cimport (
    NO_SET,
    ints_insert,
    worker_sets_find,
    worker_sets_has,
)
from bsbpool._core.scheduling.workers cimport NO_WORKER, workers_release
from libc.stdint cimport int32_t, int64_t


cdef inline int make_waiting(dispatcher_t *d, int32_t job) noexcept nogil:
    """Let a job that may run wait for a worker."""
    if d.jobs[job].flags & SPECIAL:
        return special_wait(d, specials_find(&d.special, job))
    ready_push(&d.ready, job)
    return 0


cdef inline bint stop_waiting(dispatcher_t *d, int32_t job) noexcept nogil:
    """Let a job wait no longer; return whether it did."""
    cdef special_t *entry
    if d.jobs[job].flags & SPECIAL:
        entry = specials_find(&d.special, job)
        if d.special.gangs.next_up == <int32_t>(entry - d.special.entries):
            gang_release_all(d)
        return specials_remove(&d.special, entry)
    return ready_remove(&d.ready, job)


cdef inline void gang_release_all(dispatcher_t *d) noexcept nogil:
    """Reserve no workers for a job on several workers any more."""
    cdef gangs_t *g = &d.special.gangs
    cdef int64_t i
    for i in range(g.reserved.size):
        workers_release(&d.workers, g.reserved.data[i])
    g.reserved.size = 0
    g.next_up = NO_GANG


cdef inline int32_t waiting_pop(dispatcher_t *d) noexcept nogil:
    """Remove and return the first of the jobs that wait, some of which are special."""
    cdef special_t *entry
    specials_unblock(&d.special)
    entry = specials_first(&d.special, specials_best(&d.special))
    if plain_precedes(d, entry):
        return ready_pop(&d.ready)
    specials_remove(&d.special, entry)
    return entry.job


cdef inline bint plain_precedes(dispatcher_t *d, special_t *entry) noexcept nogil:
    """Whether a job without options comes before one with options. Its priority is 0."""
    return d.ready.count and (
        entry.priority < 0 or (entry.priority == 0 and ready_first(&d.ready) < entry.job)
    )


# ------------------------------------------------------------------ placements

cdef inline int special_wait(dispatcher_t *d, special_t *entry) noexcept nogil:
    """Let a job with options wait where its conditions are."""
    cdef conditions_t wanted = entry.conditions
    cdef int32_t placement
    if entry.n_follow and follow(d, entry, &wanted) < 0:
        return fail(d, FAULT_NO_MEMORY)
    placement = specials_placement(&d.special, &wanted)
    if placement < 0:
        return fail(d, FAULT_NO_MEMORY)
    if entry.deadline == 0:
        entry.deadline = d.special.now + wanted.grace_ns
    if specials_push(&d.special, entry, placement) < 0:
        return fail(d, FAULT_NO_MEMORY)
    return 0


cdef inline int32_t last_worker(job_t *job) noexcept nogil:
    """Return the worker in whose queue a job is or was last; NO_WORKER if there is none."""
    if job.worker != NO_WORKER:
        return job.worker
    return NO_WORKER if job.next == -1 else -2 - job.next


cdef inline int follow(
    dispatcher_t *d, special_t *entry, conditions_t *wanted
) noexcept nogil:
    """Find the workers where the followed jobs ran; put them into the conditions."""
    cdef int32_t worker
    cdef int32_t number
    cdef bint found = False
    cdef int64_t i
    d.special.scratch.size = 0
    for i in range(entry.follow, entry.follow + entry.n_follow):
        worker = last_worker(&d.jobs[d.special.followed.data[i]])
        if worker == NO_WORKER:
            continue
        found = True
        if not entry.strict or worker_sets_has(&d.special.sets, wanted.targets, worker):
            if ints_insert(&d.special.scratch, worker) < 0:
                return FAULT_NO_MEMORY
    if not found:
        return 0  # none of them was sent to a worker
    number = worker_sets_find(&d.special.sets, &d.special.scratch)
    if number < 0:
        return FAULT_NO_MEMORY
    if entry.strict:
        wanted.targets = number
    else:
        wanted.preferred = number
    return 0


cdef inline int prefer_worker(
    dispatcher_t *d, special_t *entry, int32_t worker
) noexcept nogil:
    """Let a job run on a worker if that has credit, instead of where it preferred to run."""
    cdef bint waits = specials_remove(&d.special, entry)
    cdef int32_t number = NO_SET
    d.special.scratch.size = 0
    if ints_insert(&d.special.scratch, worker) == 0:
        number = worker_sets_find(&d.special.sets, &d.special.scratch)
    if number < 0:
        return fail(d, FAULT_NO_MEMORY)
    entry.conditions.preferred = number
    return special_wait(d, entry) if waits else 0


# ------------------------------------------------------------------ resources and retries

cdef inline int reserve_here(dispatcher_t *d, int32_t job) noexcept nogil:
    """Reserve what a job needs that runs in this process, the only worker of a serial run."""
    cdef special_t *entry = specials_find(&d.special, job)
    if d.workers.n or entry.conditions.demand == NO_DEMAND:
        return 0
    if resources_fit(&d.special.resources, 0, entry.conditions.demand, True):
        entry.reservation = resources_reserve(
            &d.special.resources, 0, entry.conditions.demand
        )
        if entry.reservation < 0:
            return fail(d, FAULT_NO_MEMORY)
    return 0


cdef inline void release_resources(dispatcher_t *d, int32_t job) noexcept nogil:
    """Release what a job has reserved."""
    cdef special_t *entry
    if d.jobs[job].flags & SPECIAL:
        entry = specials_find(&d.special, job)
        if entry.reservation != NO_RESERVATION:
            resources_release(&d.special.resources, entry.reservation)
            entry.reservation = NO_RESERVATION


cdef inline bint may_retry(dispatcher_t *d, int32_t job, bint lost) noexcept nogil:
    """Whether a job may run once more, after an error or after its worker was lost."""
    cdef special_t *entry
    if not d.jobs[job].flags & SPECIAL:
        return False
    entry = specials_find(&d.special, job)
    return (entry.lost_retries if lost else entry.retries) > 0


cdef inline int run_again(
    dispatcher_t *d, int32_t job, int32_t worker, bint lost
) noexcept nogil:
    """Make a RUNNING job ready again, which is in no queue. It has run on `worker`."""
    cdef special_t *entry
    if not may_retry(d, job, lost):
        d.illegal = change_t(job, d.jobs[job].status, QUEUED)
        return fail(d, FAULT_ILLEGAL)
    entry = specials_find(&d.special, job)
    if lost:
        entry.lost_retries -= 1
    else:
        entry.retries -= 1
        # If it is behind others when its worker dies, and this worker has begun it before, nobody
        # knows whether the last begin that the worker noted is the old one.
        entry.conditions.alone = True
        if entry.elsewhere:
            entry.conditions.excluded = worker
    entry.attempts += 1
    if d.jobs[job].status != QUEUED and set_status(d, job, QUEUED) < 0:
        return d.fault
    return special_wait(d, entry)
