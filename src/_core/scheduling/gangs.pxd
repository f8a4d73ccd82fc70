# The events of jobs that run on several workers: members end their parts, and die.
#
# Each member reports the end of its part. The job ends when all members have left it. If one has
# failed, that is the outcome of the job, and the caller interrupts the others. If they do not leave
# in time, `gang_give_up` ends the job without them. They stay in the job until they report its end.
from bsbpool._core.scheduling.dispatcher cimport dispatcher_finish
from bsbpool._core.scheduling.dispatcher_tables cimport (
    FAULT_OUT_OF_ORDER,
    SPECIAL,
    dispatcher_t,
    fail,
)
from bsbpool._core.scheduling.gang_tables cimport (
    NO_GANG,
    gang_t,
    gangs_remove,
    gangs_t,
)
from bsbpool._core.scheduling.special cimport special_t, specials_find
from bsbpool._core.scheduling.status cimport ABORTED, CANCELLED, SUCCESS, status_is_terminal
from bsbpool._core.scheduling.waiting cimport may_retry, run_again
from bsbpool._core.scheduling.workers cimport NO_WORKER, worker_t, workers_list, workers_restore
from libc.stdint cimport int32_t, int64_t, uint8_t


cdef inline gang_t *gang_of(dispatcher_t *d, int32_t job) noexcept nogil:
    """Return the gang that runs a job, or NULL."""
    cdef special_t *entry
    if not d.jobs[job].flags & SPECIAL:
        return NULL
    entry = specials_find(&d.special, job)
    return NULL if entry.gang == NO_GANG else &d.special.gangs.data[entry.gang]


cdef inline bint gang_has(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """Whether a worker is in a job on several workers."""
    return (
        0 <= worker < d.workers.n
        and d.workers.slots[worker].in_flight > 0
        and d.workers.slots[worker].first == job
        and gang_of(d, job) != NULL
    )


cdef inline int gang_member_done(
    dispatcher_t *d, int32_t worker, int32_t job, uint8_t outcome, bint retries, bint lost
) noexcept nogil:
    """A member has ended its part of a job; CANCELLED if it did not run it.

    `retries` tells whether the job runs again after this failure, `lost` that the member has died.
    """
    cdef gang_t *gang
    cdef worker_t *slot
    if not gang_has(d, worker, job) or not status_is_terminal(outcome):
        return fail(d, FAULT_OUT_OF_ORDER)
    gang = gang_of(d, job)
    slot = &d.workers.slots[worker]
    slot.first = slot.last = -1
    slot.in_flight = 0
    d.workers.in_flight -= 1
    workers_restore(&d.workers, worker)
    workers_list(&d.workers, worker)
    if outcome != SUCCESS and gang.outcome == SUCCESS:
        gang.outcome = outcome
        gang.retries = retries
        gang.lost = lost
        gang.failed_on = worker
    gang.n_left -= 1
    return end_gang(d, job) if gang.n_left == 0 else 0


cdef inline int end_gang(dispatcher_t *d, int32_t job) noexcept nogil:
    """All members have left a job: end it, or let it run again."""
    cdef special_t *entry = specials_find(&d.special, job)
    cdef gang_t gang = d.special.gangs.data[entry.gang]
    d.jobs[job].worker = NO_WORKER
    d.jobs[job].next = -2 - gang.members.data[0]
    gangs_remove(&d.special.gangs, entry.gang)
    entry.gang = NO_GANG
    if status_is_terminal(d.jobs[job].status):
        return 0
    if gang.retries:
        return run_again(d, job, gang.failed_on, gang.lost)
    return dispatcher_finish(d, job, gang.outcome)


cdef inline int gang_worker_failed(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """A member has died."""
    return gang_member_done(d, worker, job, ABORTED, may_retry(d, job, True), True)


cdef inline int gang_give_up(dispatcher_t *d, int32_t job) noexcept nogil:
    """End a job that has failed on a member, while others have not left it."""
    cdef gang_t *gang = gang_of(d, job)
    if gang == NULL or gang.outcome == SUCCESS:
        return fail(d, FAULT_OUT_OF_ORDER)
    gang.retries = False
    if status_is_terminal(d.jobs[job].status):
        return 0
    return dispatcher_finish(d, job, gang.outcome)


# ------------------------------------------------------------------ for stealing

cdef inline int64_t gang_idle_reserved(dispatcher_t *d) noexcept nogil:
    """Return how many reserved workers have no jobs."""
    cdef gangs_t *g = &d.special.gangs
    cdef int64_t n = 0
    cdef int64_t i
    if g.next_up != NO_GANG:
        for i in range(g.reserved.size):
            n += d.workers.slots[g.reserved.data[i]].in_flight == 0
    return n


cdef inline bint gang_can_steal(dispatcher_t *d) noexcept nogil:
    """Whether jobs wait in the queues of reserved workers, behind the jobs that these run."""
    cdef gangs_t *g = &d.special.gangs
    cdef int64_t i
    if g.next_up != NO_GANG:
        for i in range(g.reserved.size):
            if d.workers.slots[g.reserved.data[i]].in_flight > 1:
                return True
    return False
