# The queues of jobs that were sent to workers.
#
# A worker runs its jobs in the order in which they are sent, so the first job of its queue is the
# one that runs. A queue is a linked list through `job_t.next`, from `first` to `last` of the
# worker. As in `dispatcher`, each event is a function call, and the resulting actions and changes
# are appended to the arrays of the dispatcher. A serial run has no workers and no queues.
from bsbpool._core.scheduling.dispatcher cimport (
    FAULT_OUT_OF_ORDER,
    SEND_JOB,
    dispatcher_finish,
    dispatcher_t,
    fail,
    record_action,
    set_status,
)
from bsbpool._core.scheduling.ready cimport ready_pop, ready_push
from bsbpool._core.scheduling.status cimport ABORTED, CANCELLED, QUEUED, RUNNING, status_is_terminal
from bsbpool._core.scheduling.workers cimport (
    NO_WORKER,
    worker_t,
    workers_list,
    workers_measure,
    workers_next,
    workers_set_available,
)
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    # Values in place of the last job that a worker has begun.
    BEGUN_UNKNOWN = -1
    BEGUN_NOTHING = -2

cdef enum:
    NOT_FOUND = -2  # in place of the job before another one


# ------------------------------------------------------------------ events

cdef inline int queues_assign(dispatcher_t *d) noexcept nogil:
    """Assign ready jobs to workers with credit left; append a SEND_JOB action for each."""
    cdef int32_t worker
    cdef int64_t share
    cdef int64_t candidates
    while d.ready.count and not d.aborted:
        candidates = d.workers.idle.size + d.workers.spare.size
        worker = workers_next(&d.workers)
        if worker == NO_WORKER:
            return 0
        share = (d.ready.count + candidates - 1) // candidates  # an equal share, rounded up
        if share > d.workers.slots[worker].credit - d.workers.slots[worker].in_flight:
            share = d.workers.slots[worker].credit - d.workers.slots[worker].in_flight
        while share and d.ready.count:
            if enqueue(d, worker, ready_pop(&d.ready)) < 0:
                return d.fault
            share -= 1
        workers_list(&d.workers, worker)
    return 0


cdef inline int enqueue(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """Append a job to the queue of a worker."""
    cdef worker_t *slot = &d.workers.slots[worker]
    d.jobs[job].worker = worker
    d.jobs[job].next = -1
    if slot.in_flight:
        d.jobs[slot.last].next = job
    else:
        slot.first = job
    slot.last = job
    slot.in_flight += 1
    d.workers.in_flight += 1
    if record_action(d, SEND_JOB, worker, job) < 0:
        return d.fault
    # The first job of the queue is the one that runs, so workers do not report starts.
    return set_status(d, job, RUNNING) if slot.first == job else 0


cdef inline int queues_done(
    dispatcher_t *d, int32_t worker, int32_t job, uint8_t outcome, double run_ns
) noexcept nogil:
    """A worker reports the end of the first job of its queue; CANCELLED if it did not run it."""
    cdef worker_t *slot
    if not 0 <= worker < d.workers.n:
        return fail(d, FAULT_OUT_OF_ORDER)
    slot = &d.workers.slots[worker]
    if slot.in_flight == 0 or slot.first != job or not status_is_terminal(outcome):
        return fail(d, FAULT_OUT_OF_ORDER)
    if outcome != CANCELLED:
        workers_measure(&d.workers, worker, run_ns)
    return remove_and_end(d, worker, -1, job, outcome)


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
    if not status_is_terminal(d.jobs[job].status):
        ready_push(&d.ready, job)
    return 0


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
    """A worker has died: abort the jobs that it had begun, make its other jobs ready again."""
    cdef worker_t *slot
    cdef int32_t last
    cdef int32_t job
    if not 0 <= worker < d.workers.n:
        return fail(d, FAULT_OUT_OF_ORDER)
    slot = &d.workers.slots[worker]
    workers_set_available(&d.workers, worker, False)
    last = queues_last_begun(d, worker, begun)
    job = slot.first if last == -1 else d.jobs[last].next
    while job != -1:
        unlink(d, worker, last, job)
        if d.jobs[job].status == RUNNING and set_status(d, job, QUEUED) < 0:
            return d.fault
        if d.jobs[job].status == QUEUED:
            ready_push(&d.ready, job)
        job = slot.first if last == -1 else d.jobs[last].next
    while slot.in_flight:
        if remove_and_end(d, worker, -1, slot.first, ABORTED) < 0:
            return d.fault
    return 0


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
    d.jobs[job].next = -1
    workers_list(&d.workers, worker)


cdef inline int remove_and_end(
    dispatcher_t *d, int32_t worker, int32_t before, int32_t job, uint8_t outcome
) noexcept nogil:
    """Remove `job`, which follows `before`, and end it unless it was cancelled."""
    cdef int32_t following = d.jobs[job].next
    unlink(d, worker, before, job)
    if not status_is_terminal(d.jobs[job].status) and dispatcher_finish(d, job, outcome) < 0:
        return d.fault
    if before == -1 and following != -1 and d.jobs[following].status == QUEUED:
        return set_status(d, following, RUNNING)
    return 0
