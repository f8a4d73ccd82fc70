# The queues of jobs that were sent to workers.
#
# A worker runs its jobs in the order in which they are sent, so the first job of its queue is the
# one that runs. A queue is a linked list through `job_t.next`, from `first` to `last` of the
# worker. As in `dispatcher`, each event is a function call, and the resulting actions and changes
# are appended to the arrays of the dispatcher. A serial run has no workers and no queues.
from bsbpool._core.scheduling.dispatcher cimport dispatcher_finish
from bsbpool._core.scheduling.dispatcher_tables cimport (
    FAULT_OUT_OF_ORDER,
    SPECIAL,
    dispatcher_t,
    fail,
    set_status,
)
from bsbpool._core.scheduling.gangs cimport (
    gang_can_steal,
    gang_has,
    gang_idle_reserved,
    gang_worker_failed,
)
from bsbpool._core.scheduling.special cimport conditions_free, special_t, specials_find
from bsbpool._core.scheduling.status cimport ABORTED, CANCELLED, QUEUED, RUNNING, status_is_terminal
from bsbpool._core.scheduling.waiting cimport (
    make_waiting,
    may_retry,
    release_resources,
    run_again,
)
from bsbpool._core.scheduling.workers cimport (
    NO_WORKER,
    worker_t,
    workers_list,
    workers_lose,
    workers_measure,
)
from libc.stdint cimport int32_t, uint8_t

cdef enum:
    # Values in place of the last job that a worker has begun.
    BEGUN_UNKNOWN = -1
    BEGUN_NOTHING = -2

cdef enum:
    NOT_FOUND = -2  # in place of the job before another one


# ------------------------------------------------------------------ events

cdef inline int queues_done(
    dispatcher_t *d, int32_t worker, int32_t job, uint8_t outcome, double run_ns
) noexcept nogil:
    """A worker reports the end of the first job of its queue; CANCELLED if it did not run it."""
    if not runs_first(d, worker, job) or not status_is_terminal(outcome):
        return fail(d, FAULT_OUT_OF_ORDER)
    if outcome != CANCELLED:
        workers_measure(&d.workers, worker, run_ns)
    return remove_and_end(d, worker, -1, job, outcome)


cdef inline bint runs_first(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """Whether a worker exists and `job` is the first of its queue."""
    return (
        0 <= worker < d.workers.n
        and d.workers.slots[worker].in_flight > 0
        and d.workers.slots[worker].first == job
    )


cdef inline int queues_retry(
    dispatcher_t *d, int32_t worker, int32_t job, double run_ns
) noexcept nogil:
    """A worker reports that the first job of its queue has failed, and the job may be retried."""
    cdef int32_t following = d.jobs[job].next
    if not runs_first(d, worker, job):
        return fail(d, FAULT_OUT_OF_ORDER)
    workers_measure(&d.workers, worker, run_ns)
    unlink(d, worker, -1, job)
    if not status_is_terminal(d.jobs[job].status) and run_again(d, job, worker, False) < 0:
        return d.fault
    return begin_next(d, following)


cdef inline int queues_undo_send(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """A job with a SEND_JOB action could not be sent: remove it and end it with `outcome`."""
    cdef int32_t worker = d.jobs[job].worker
    cdef int32_t before = job_before(d, worker, job)
    if before == NOT_FOUND:
        return fail(d, FAULT_OUT_OF_ORDER)
    return remove_and_end(d, worker, before, job, outcome)


cdef inline int queues_stolen(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """A worker gives back a job that it has not begun: make the job ready again."""
    cdef int32_t before = job_before(d, worker, job)
    if before < 0:  # the first job runs, so it cannot be given back
        return fail(d, FAULT_OUT_OF_ORDER)
    unlink(d, worker, before, job)
    if status_is_terminal(d.jobs[job].status):
        return 0
    if d.jobs[job].flags & SPECIAL:
        keep_behind(specials_find(&d.special, job))
    return make_waiting(d, job)


cdef inline void keep_behind(special_t *entry) noexcept nogil:
    """Send a job no more ahead of others, unless it can run anywhere.

    Otherwise it could be sent to the same worker and be given back again and again.
    """
    if entry.n_follow or not conditions_free(&entry.conditions):
        entry.conditions.alone = True


cdef inline int32_t queues_last_begun(
    dispatcher_t *d, int32_t worker, int32_t begun
) noexcept nogil:
    """Return the last job in the queue of a worker that the worker has begun, or -1.

    `begun` is the job that the worker began last; it may have left the queue. If it is not known
    (BEGUN_UNKNOWN), the first job counts as begun, since it may have been.
    """
    if begun == BEGUN_UNKNOWN:
        return d.workers.slots[worker].first
    return begun if job_before(d, worker, begun) != NOT_FOUND else -1


cdef inline int queues_worker_failed(dispatcher_t *d, int32_t worker, int32_t begun) noexcept nogil:
    """A worker has died: abort the jobs that it had begun, make its other jobs ready again.

    Of the jobs that it had begun, those that may be retried after that are ready again, too.
    """
    cdef worker_t *slot
    cdef int32_t last
    cdef int32_t job
    if not 0 <= worker < d.workers.n:
        return fail(d, FAULT_OUT_OF_ORDER)
    slot = &d.workers.slots[worker]
    workers_lose(&d.workers, worker)
    if slot.in_flight and gang_has(d, worker, slot.first):
        return gang_worker_failed(d, worker, slot.first)
    last = queues_last_begun(d, worker, begun)
    job = slot.first if last == -1 else d.jobs[last].next
    while job != -1:
        unlink(d, worker, last, job)
        if d.jobs[job].status == RUNNING and set_status(d, job, QUEUED) < 0:
            return d.fault
        if d.jobs[job].status == QUEUED and make_waiting(d, job) < 0:
            return d.fault
        job = slot.first if last == -1 else d.jobs[last].next
    while slot.in_flight:
        job = slot.first
        if may_retry(d, job, True) and not status_is_terminal(d.jobs[job].status):
            last = d.jobs[job].next
            unlink(d, worker, -1, job)
            if run_again(d, job, worker, True) < 0 or begin_next(d, last) < 0:
                return d.fault
        elif remove_and_end(d, worker, -1, job, ABORTED) < 0:
            return d.fault
    return 0


cdef inline bint queues_can_steal(dispatcher_t *d) noexcept nogil:
    """Whether a worker is idle while jobs wait behind the jobs of others.

    Also if jobs wait at workers that are reserved for a job on several workers.
    """
    return (
        d.ready.count == 0
        and d.workers.idle.size > 0
        and d.workers.in_flight > d.workers.n - d.workers.n_unavailable - d.workers.idle.size
        - gang_idle_reserved(d)
    ) or gang_can_steal(d)


# ------------------------------------------------------------------ linked lists

cdef inline int32_t job_before(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """Return the job before `job` in a queue: -1 if `job` is the first, NOT_FOUND if absent."""
    cdef int32_t before = -1
    cdef int32_t current
    if not 0 <= worker < d.workers.n:
        return NOT_FOUND
    current = d.workers.slots[worker].first
    while current != job and current != -1:
        before = current
        current = d.jobs[current].next
    return NOT_FOUND if current == -1 else before


cdef inline void unlink(
    dispatcher_t *d, int32_t worker, int32_t before, int32_t job
) noexcept nogil:
    """Remove `job`, which follows `before`, from the queue of a worker."""
    cdef worker_t *slot = &d.workers.slots[worker]
    cdef int32_t following = d.jobs[job].next
    if before == -1:
        slot.first = following
    else:
        d.jobs[before].next = following
    if slot.last == job:
        slot.last = before
    slot.in_flight -= 1
    d.workers.in_flight -= 1
    d.jobs[job].worker = NO_WORKER
    d.jobs[job].next = -2 - worker
    if d.jobs[job].flags & SPECIAL:
        release_resources(d, job)
    workers_list(&d.workers, worker)


cdef inline int remove_and_end(
    dispatcher_t *d, int32_t worker, int32_t before, int32_t job, uint8_t outcome
) noexcept nogil:
    """Remove `job`, which follows `before`, and end it unless it was cancelled."""
    cdef int32_t following = d.jobs[job].next
    unlink(d, worker, before, job)
    if not status_is_terminal(d.jobs[job].status) and dispatcher_finish(d, job, outcome) < 0:
        return d.fault
    return begin_next(d, following) if before == -1 else 0


cdef inline int begin_next(dispatcher_t *d, int32_t job) noexcept nogil:
    """The first job of a queue was removed: the next one, or -1, runs now."""
    if job != -1 and d.jobs[job].status == QUEUED:
        return set_status(d, job, RUNNING)
    return 0
