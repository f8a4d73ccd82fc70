"""Events in, actions out: the one room that sees all the tables.

An event is a call (`dispatcher_submit`, `dispatcher_done`, ...); what has to be
done about it is left in two arrays: `actions` for the loop (send this job to
that worker) and `changes` for whoever watches jobs. There is no I/O, no clock
and no callback here, so the same code runs under MPI, in one process and in a
simulation. The cost of an event is that of the jobs it concerns, never of all.

Nothing here locks: whoever shares the struct between threads guards it (see
`engine`).
"""
from bsbpool._core.cache cimport (
    CACHE_NO_SET,
    cache_acquire,
    cache_free,
    cache_init,
    cache_release,
)
from bsbpool._core.graph cimport (
    JOIN_BROKEN,
    JOIN_MET,
    JOIN_OPEN,
    graph_add,
    graph_depend,
    graph_depend_join,
    graph_free,
    graph_init,
    graph_join,
    graph_join_member,
    graph_settle,
)
from bsbpool._core.ready cimport (
    READY_EMPTY,
    ready_free,
    ready_init,
    ready_pop,
    ready_push,
    ready_remove,
    ready_reserve,
)
from bsbpool._core.status cimport (
    ABORTED,
    CANCELLED,
    PENDING,
    QUEUED,
    RUNNING,
    SUCCESS,
    status_is_legal,
    status_is_terminal,
)
from bsbpool._core.vector cimport grow, ints_free, ints_push
from bsbpool._core.workers cimport (
    NO_WORKER,
    worker_t,
    workers_free,
    workers_init,
    workers_list,
    workers_measure,
    workers_next,
)
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

assert sizeof(job_t) <= 16

cdef enum:
    NOT_THERE = -2


# ------------------------------------------------------------------ life cycle

cdef void dispatcher_init(dispatcher_t *d) noexcept nogil:
    memset(d, 0, sizeof(dispatcher_t))
    graph_init(&d.graph)
    ready_init(&d.ready)
    cache_init(&d.cache)
    workers_init(&d.workers)


cdef void dispatcher_free(dispatcher_t *d) noexcept nogil:
    graph_free(&d.graph)
    ready_free(&d.ready)
    cache_free(&d.cache)
    workers_free(&d.workers)
    free(d.jobs)
    free(d.changes)
    free(d.actions)
    ints_free(&d.cascade)
    dispatcher_init(d)


cdef int fail(dispatcher_t *d, int fault) noexcept nogil:
    if d.fault == 0:
        d.fault = fault
    return fault


# ------------------------------------------------------------------ statuses

cdef inline int set_status(dispatcher_t *d, int32_t job, uint8_t new) noexcept nogil:
    """Change a status by the table's rules; count it and record it if watched."""
    cdef job_t *entry = &d.jobs[job]
    cdef uint8_t old = entry.status
    if not status_is_legal(old, new):
        if d.fault == 0:
            d.illegal = change_t(job, old, new)
        return fail(d, FAULT_ILLEGAL)
    entry.status = new
    d.counts[old] -= 1
    d.counts[new] += 1
    if status_is_terminal(new):
        d.unfinished -= 1
    if d.watch_all or entry.flags & WATCHED:
        return record(d, change_t(job, old, new))
    return 0


cdef int record(dispatcher_t *d, change_t change) noexcept nogil:
    if grow(<void **>&d.changes, &d.change_capacity, d.n_changes + 1, sizeof(change_t)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    d.changes[d.n_changes] = change
    d.n_changes += 1
    return 0


cdef int act(dispatcher_t *d, int32_t kind, int32_t worker, int32_t job) noexcept nogil:
    if grow(<void **>&d.actions, &d.action_capacity, d.n_actions + 1, sizeof(action_t)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    d.actions[d.n_actions] = action_t(kind, worker, job)
    d.n_actions += 1
    return 0


# ------------------------------------------------------------------ submission

cdef int32_t dispatcher_submit(
    dispatcher_t *d, const int32_t *deps, int64_t n, int32_t join, int32_t cache_set,
    uint8_t flags,
) noexcept nogil:
    """Add a job that waits for `deps` and, unless -1, for `join`; return its id.

    A dependency that succeeded already counts as met; one that ended otherwise
    cancels the new job at once. So does a run that was ended.
    """
    cdef int32_t job = <int32_t>d.n_jobs
    cdef bint broken = join >= 0 and d.graph.joins[join].state == JOIN_BROKEN
    cdef int64_t i
    if grow(<void **>&d.jobs, &d.job_capacity, d.n_jobs + 1, sizeof(job_t)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    if ready_reserve(&d.ready, d.n_jobs + 1) < 0 or graph_add(&d.graph) < 0:
        return fail(d, FAULT_NO_MEMORY)
    d.jobs[job] = job_t(CACHE_NO_SET, NO_WORKER, -1, PENDING, flags)
    d.n_jobs += 1
    d.counts[<int>PENDING] += 1
    d.unfinished += 1
    if d.watch_all and record(d, change_t(job, ADDED, PENDING)) < 0:
        return d.fault
    for i in range(n):
        if d.jobs[deps[i]].status > SUCCESS:  # ended otherwise
            broken = True
    if broken or d.ended:
        d.jobs[job].flags |= BROKEN if broken else CUT_OFF
        return job if set_status(d, job, CANCELLED) == 0 else d.fault
    for i in range(n):
        if d.jobs[deps[i]].status != SUCCESS and graph_depend(&d.graph, job, deps[i]) < 0:
            return fail(d, FAULT_NO_MEMORY)
    if join >= 0 and d.graph.joins[join].state == JOIN_OPEN:
        if graph_depend_join(&d.graph, job, join) < 0:
            return fail(d, FAULT_NO_MEMORY)
    if cache_set != CACHE_NO_SET:
        d.jobs[job].cache_set = cache_set
        if cache_acquire(&d.cache, cache_set) < 0:
            return fail(d, FAULT_NO_MEMORY)
    if d.started and d.graph.vertices[job].unmet == 0 and make_ready(d, job) < 0:
        return d.fault
    return job


cdef int32_t dispatcher_join(dispatcher_t *d, const int32_t *jobs, int64_t n) noexcept nogil:
    """Make a shared set of dependencies; return its number for `dispatcher_submit`."""
    cdef int32_t join = graph_join(&d.graph)
    cdef int64_t i
    cdef uint8_t status
    if join < 0:
        return fail(d, FAULT_NO_MEMORY)
    for i in range(n):
        status = d.jobs[jobs[i]].status
        if not status_is_terminal(status):
            if graph_join_member(&d.graph, join, jobs[i]) < 0:
                return fail(d, FAULT_NO_MEMORY)
        elif status != SUCCESS:
            d.graph.joins[join].state = JOIN_BROKEN
    if d.graph.joins[join].unmet == 0 and d.graph.joins[join].state == JOIN_OPEN:
        d.graph.joins[join].state = JOIN_MET
    return join


cdef int dispatcher_start(dispatcher_t *d) noexcept nogil:
    """Let jobs run: those that wait for nothing become QUEUED. Once in a run."""
    cdef int32_t job
    if d.started:
        return 0
    d.started = True
    for job in range(<int32_t>d.n_jobs):
        if d.jobs[job].status == PENDING and d.graph.vertices[job].unmet == 0:
            if make_ready(d, job) < 0:
                return d.fault
    return 0


cdef int make_ready(dispatcher_t *d, int32_t job) noexcept nogil:
    ready_push(&d.ready, job)
    return set_status(d, job, QUEUED)


# ------------------------------------------------------------------ running

cdef int32_t dispatcher_take(dispatcher_t *d) noexcept nogil:
    """Take the next job to be run right here; -1 when none is ready."""
    cdef int32_t job = ready_pop(&d.ready)
    if job == READY_EMPTY:
        return -1
    return job if set_status(d, job, RUNNING) == 0 else d.fault


cdef int dispatcher_begin(dispatcher_t *d, int32_t job) noexcept nogil:
    """Make one job, chosen by the caller, RUNNING right here; FAULT_ILLEGAL if it may not.

    The choice may be a mistake of the pool's user, so it is refused without a fault.
    """
    cdef uint8_t old = d.jobs[job].status
    if old == PENDING and d.graph.vertices[job].unmet == 0:
        if make_ready(d, job) < 0:
            return d.fault
    elif old != QUEUED or d.jobs[job].worker != NO_WORKER:
        return FAULT_ILLEGAL
    ready_remove(&d.ready, job)
    return set_status(d, job, RUNNING)


cdef int dispatcher_assign(dispatcher_t *d) noexcept nogil:
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


cdef int dispatcher_done(
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


cdef int dispatcher_unsend(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """A job with a SEND action could not be sent after all; it ends with `outcome`."""
    cdef int32_t worker = d.jobs[job].worker
    cdef int32_t before = job_before(d, worker, job)
    if before == NOT_THERE:
        return fail(d, FAULT_OUT_OF_ORDER)
    return leave_worker(d, worker, before, job, outcome)


cdef int dispatcher_return(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil:
    """A worker hands back a job that it has not started; another may run it."""
    cdef int32_t before = job_before(d, worker, job)
    if before < 0:  # nobody can hand back what runs
        return fail(d, FAULT_OUT_OF_ORDER)
    unlink_job(d, worker, before, job)
    if not status_is_terminal(d.jobs[job].status):
        ready_push(&d.ready, job)
    return 0


cdef int32_t dispatcher_begun(dispatcher_t *d, int32_t worker, int32_t begun) noexcept nogil:
    """Return the last job in a worker's line that it had begun, or -1.

    `begun` is the job that it began last, in this line or before it. When that is not known
    it is the first one: nobody can tell that it had not begun that.
    """
    if begun == BEGUN_UNKNOWN:
        return d.workers.slots[worker].first
    return begun if job_before(d, worker, begun) != NOT_THERE else -1


cdef int dispatcher_lose(dispatcher_t *d, int32_t worker, int32_t begun) noexcept nogil:
    """A worker is gone: what it had begun is ABORTED, the rest of its jobs goes to others."""
    cdef worker_t *slot
    cdef int32_t last
    cdef int32_t job
    if not 0 <= worker < d.workers.n:
        return fail(d, FAULT_OUT_OF_ORDER)
    slot = &d.workers.slots[worker]
    dispatcher_hold(d, worker, True)
    last = dispatcher_begun(d, worker, begun)
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


cdef void dispatcher_hold(dispatcher_t *d, int32_t worker, bint held) noexcept nogil:
    """Give a worker no jobs from here on, or give it some again."""
    d.workers.n_away += held - (not d.workers.slots[worker].alive)
    d.workers.slots[worker].alive = not held
    workers_list(&d.workers, worker)


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


# ------------------------------------------------------------------ endings

cdef int dispatcher_finish(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """End a job: free what it needed, and tell those that wait for it."""
    cdef int64_t i
    cdef int32_t waiter
    d.cascade.size = 0
    if end_one(d, job, outcome) < 0:
        return d.fault
    for i in range(d.graph.met.size):
        waiter = d.graph.met.data[i]
        if d.started and d.jobs[waiter].status == PENDING and make_ready(d, waiter) < 0:
            return d.fault
    # Those that can never run are cancelled depth first, without recursion.
    while d.cascade.size:
        d.cascade.size -= 1
        waiter = d.cascade.data[d.cascade.size]
        if status_is_terminal(d.jobs[waiter].status):
            continue
        d.jobs[waiter].flags |= BROKEN
        if end_one(d, waiter, CANCELLED) < 0:
            return d.fault
    return 0


cdef int end_one(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    cdef int64_t i
    if set_status(d, job, outcome) < 0:
        return d.fault
    if d.jobs[job].cache_set != CACHE_NO_SET:
        if cache_release(&d.cache, d.jobs[job].cache_set) < 0:
            return fail(d, FAULT_NO_MEMORY)
    if graph_settle(&d.graph, job, outcome == SUCCESS) < 0:
        return fail(d, FAULT_NO_MEMORY)
    for i in range(d.graph.broken.size):
        if ints_push(&d.cascade, d.graph.broken.data[i]) < 0:
            return fail(d, FAULT_NO_MEMORY)
    return 0


cdef int dispatcher_cancel(dispatcher_t *d, int32_t job) noexcept nogil:
    """Cancel a job; return the status it had. A finished job stays what it is."""
    cdef uint8_t old = d.jobs[job].status
    if status_is_terminal(old):
        return old
    if old == QUEUED and d.jobs[job].worker == NO_WORKER:
        ready_remove(&d.ready, job)
    elif d.jobs[job].worker != NO_WORKER and old == QUEUED:
        if act(d, TAKE_BACK, d.jobs[job].worker, job) < 0:
            return d.fault
    return old if dispatcher_finish(d, job, CANCELLED) == 0 else d.fault


cdef int dispatcher_end(dispatcher_t *d) noexcept nogil:
    """End the run early: what runs is ABORTED, what did not start is CANCELLED."""
    cdef int32_t job
    d.ended = True
    for job in range(<int32_t>d.n_jobs):
        if status_is_terminal(d.jobs[job].status):
            continue
        d.jobs[job].flags |= CUT_OFF
        if d.jobs[job].status == QUEUED and d.jobs[job].worker == NO_WORKER:
            ready_remove(&d.ready, job)
        if end_one(d, job, ABORTED if d.jobs[job].status == RUNNING else CANCELLED) < 0:
            return d.fault
    d.cascade.size = 0
    return 0
