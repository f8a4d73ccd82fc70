"""The workers' lines: what becomes of jobs that are sent to run elsewhere.

A line is the jobs that a worker has, in the order sent, which is the order in which it runs
them: so the first of a line is the one that runs. It goes through `job_t.next`, from `first` to
`last` of the worker's slot. As in `dispatcher`, events come in as calls and what has to be done is
left in its arrays. A run without workers has no lines.
"""
from bsbpool._core.scheduling.dispatcher cimport (
    FAULT_OUT_OF_ORDER,
    SEND,
    act,
    dispatcher_finish,
    dispatcher_t,
    fail,
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
)
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    NOT_THERE = -2


# ------------------------------------------------------------------ events

cdef int queues_assign(dispatcher_t *d) noexcept nogil:
    """Give ready jobs to workers with credit, as SEND actions in order."""
    cdef int32_t worker
    cdef int64_t share
    cdef int64_t candidates
    while d.ready.count and not d.ended:
        candidates = d.workers.idle.size + d.workers.spare.size
        worker = workers_next(&d.workers)
        if worker == NO_WORKER:
            return 0
        share = (d.ready.count + candidates - 1) // candidates  # one more would leave some idle
        if share > d.workers.slots[worker].credit - d.workers.slots[worker].in_flight:
            share = d.workers.slots[worker].credit - d.workers.slots[worker].in_flight
        while share and d.ready.count:
            if send_ahead(d, worker, ready_pop(&d.ready)) < 0:
                return d.fault
            share -= 1
        workers_list(&d.workers, worker)
    return 0


cdef int send_ahead(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
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
    if act(d, SEND, worker, job) < 0:
        return d.fault
    # A worker runs its jobs in the order sent: the first of them is the one
    # that runs, so nobody has to report the start of a job.
    return set_status(d, job, RUNNING) if slot.first == job else 0


cdef int queues_done(
    dispatcher_t *d, int32_t worker, int32_t job, uint8_t outcome, double run_ns
) noexcept nogil:
    """A worker reports the end of the job that it ran (or skipped as cancelled)."""
    cdef worker_t *slot
    if not 0 <= worker < d.workers.n:
        return fail(d, FAULT_OUT_OF_ORDER)
    slot = &d.workers.slots[worker]
    if slot.in_flight == 0 or slot.first != job or not status_is_terminal(outcome):
        return fail(d, FAULT_OUT_OF_ORDER)
    if outcome != CANCELLED:
        workers_measure(&d.workers, worker, run_ns)
    return leave_worker(d, worker, -1, job, outcome)


cdef int queues_unsend(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """A job with a SEND action could not be sent after all; it ends with `outcome`."""
    cdef int32_t worker = d.jobs[job].worker
    cdef int32_t before = job_before(d, worker, job)
    if before == NOT_THERE:
        return fail(d, FAULT_OUT_OF_ORDER)
    return leave_worker(d, worker, before, job, outcome)


cdef int queues_stolen(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """A worker hands back a job that it has not started; another may run it."""
    cdef int32_t before = job_before(d, worker, job)
    if before < 0:  # nobody can hand back what runs
        return fail(d, FAULT_OUT_OF_ORDER)
    unlink_job(d, worker, before, job)
    if not status_is_terminal(d.jobs[job].status):
        ready_push(&d.ready, job)
    return 0


cdef int32_t queues_begun(dispatcher_t *d, int32_t worker, int32_t begun) noexcept nogil:
    """Return the last job in a worker's line that it had begun, or -1.

    `begun` is the job that it began last, in this line or before it. When that is not known
    it is the first one: nobody can tell that it had not begun that.
    """
    if begun == BEGUN_UNKNOWN:
        return d.workers.slots[worker].first
    return begun if job_before(d, worker, begun) != NOT_THERE else -1


cdef int queues_lose(dispatcher_t *d, int32_t worker, int32_t begun) noexcept nogil:
    """A worker is gone: what it had begun is ABORTED, the rest of its jobs goes to others."""
    cdef worker_t *slot
    cdef int32_t last
    cdef int32_t job
    if not 0 <= worker < d.workers.n:
        return fail(d, FAULT_OUT_OF_ORDER)
    slot = &d.workers.slots[worker]
    queues_hold(d, worker, True)
    last = queues_begun(d, worker, begun)
    job = slot.first if last == -1 else d.jobs[last].next
    while job != -1:
        unlink_job(d, worker, last, job)
        if d.jobs[job].status == RUNNING and set_status(d, job, QUEUED) < 0:
            return d.fault
        if d.jobs[job].status == QUEUED:
            ready_push(&d.ready, job)
        job = slot.first if last == -1 else d.jobs[last].next
    while slot.in_flight:
        if leave_worker(d, worker, -1, slot.first, ABORTED) < 0:
            return d.fault
    return 0


cdef void queues_hold(dispatcher_t *d, int32_t worker, bint held) noexcept nogil:
    """Give a worker no jobs from here on, or give it some again."""
    d.workers.n_away += held - (not d.workers.slots[worker].alive)
    d.workers.slots[worker].alive = not held
    workers_list(&d.workers, worker)


# ------------------------------------------------------------------ places in a line

cdef int32_t job_before(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """Return what a worker runs before `job`: -1 when that is its first, or NOT_THERE."""
    cdef int32_t before = -1
    cdef int32_t here
    if not 0 <= worker < d.workers.n:
        return NOT_THERE
    here = d.workers.slots[worker].first
    while here != job and here != -1:
        before = here
        here = d.jobs[here].next
    return NOT_THERE if here == -1 else before


cdef void unlink_job(
    dispatcher_t *d, int32_t worker, int32_t before, int32_t job
) noexcept nogil:
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


cdef int leave_worker(
    dispatcher_t *d, int32_t worker, int32_t before, int32_t job, uint8_t outcome
) noexcept nogil:
    """Unlink `job`, which stands behind `before`, and end it unless it was cancelled."""
    cdef int32_t following = d.jobs[job].next
    unlink_job(d, worker, before, job)
    if not status_is_terminal(d.jobs[job].status) and dispatcher_finish(d, job, outcome) < 0:
        return d.fault
    if before == -1 and following != -1 and d.jobs[following].status == QUEUED:
        return set_status(d, following, RUNNING)
    return 0
