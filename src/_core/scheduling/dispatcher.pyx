"""Events in, actions out: the one room that sees all the tables.

An event is a call (`dispatcher_submit`, `dispatcher_cancel`, ...; `lines`, on top
of this room, has those of workers); what has to be done about it is left in two
arrays: `actions` for the loop (send this job to that worker) and `changes` for
whoever watches jobs. There is no I/O, no clock and no callback here, so the same
code runs under MPI, in one process and in a simulation. The cost of an event is
that of the jobs it concerns, never of all.

Nothing here locks: whoever shares the struct between threads guards it (see
`engine`).
"""
from bsbpool._core.scheduling.cache_refs cimport (
    CACHE_NO_SET,
    cache_acquire,
    cache_free,
    cache_init,
    cache_release,
)
from bsbpool._core.scheduling.graph cimport (
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
from bsbpool._core.scheduling.ready cimport (
    READY_EMPTY,
    ready_free,
    ready_init,
    ready_pop,
    ready_push,
    ready_remove,
    ready_reserve,
)
from bsbpool._core.scheduling.status cimport (
    ABORTED,
    CANCELLED,
    PENDING,
    QUEUED,
    RUNNING,
    SUCCESS,
    status_is_terminal,
)
from bsbpool._core.vector cimport grow, ints_free, ints_push
from bsbpool._core.scheduling.workers cimport NO_WORKER, workers_free, workers_init
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

assert sizeof(job_t) <= 16


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
    if d.track_all and record(d, change_t(job, ADDED, PENDING)) < 0:
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
        if act(d, WITHDRAW, d.jobs[job].worker, job) < 0:
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
