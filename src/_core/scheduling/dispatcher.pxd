# The dispatcher: decides which jobs run, from events that it is given.
#
# An event is a function call (`dispatcher_submit`, `dispatcher_cancel`, ...; `worker_queues` has
# the events of workers). Its consequences are appended to two arrays: `actions` for the loop (send
# this job to that worker) and `changes` for the change log. There is no I/O, no clock and no
# callback here, so the same code runs over MPI, in one process and in simulations. The cost of an
# event depends on the number of jobs that it affects, not on the number of jobs in the pool.
#
# Functions return a negative fault_t on errors and keep the first one in `dispatcher_t.fault`. They
# do not lock; see `engine` for thread safety.
from bsbpool._core.scheduling.cache_refs cimport (
    CACHE_NO_SET,
    cache_acquire,
    cache_free,
    cache_init,
    cache_release,
    cache_t,
)
from bsbpool._core.scheduling.graph cimport (
    JOIN_FAILED,
    JOIN_MET,
    JOIN_OPEN,
    graph_add_job,
    graph_add_join,
    graph_depend,
    graph_depend_join,
    graph_free,
    graph_init,
    graph_join_member,
    graph_settle,
    graph_t,
)
from bsbpool._core.scheduling.ready cimport (
    READY_EMPTY,
    ready_free,
    ready_init,
    ready_pop,
    ready_push,
    ready_remove,
    ready_reserve,
    ready_t,
)
from bsbpool._core.scheduling.status cimport (
    ABORTED,
    CANCELLED,
    N_STATUSES,
    PENDING,
    QUEUED,
    RUNNING,
    SUCCESS,
    status_is_legal,
    status_is_terminal,
    status_is_unsuccessful,
)
from bsbpool._core.scheduling.workers cimport NO_WORKER, workers_free, workers_init, workers_t
from bsbpool._core.vector cimport grow, ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef enum fault_t:
    FAULT_NO_MEMORY = -1
    FAULT_UNKNOWN_JOB = -2
    FAULT_ILLEGAL = -3
    FAULT_OUT_OF_ORDER = -4

cdef enum job_flag:
    TRACKED = 1  # record its status changes, even without `track_all`
    DEPENDENCY_FAILED = 2  # cancelled because a dependency did not succeed
    RUN_ENDED = 4  # cancelled or aborted because the run ended

cdef enum action_kind:
    SEND_JOB = 0  # send a job to a worker
    SEND_SKIP = 1  # let a worker skip a job, which was cancelled

cdef enum:
    ADDED = 0xFF  # the old status in the change that records the addition of a job

ctypedef struct job_t:
    int32_t cache_set
    int32_t worker  # the worker that it was sent to
    int32_t next  # the next job in the queue of that worker
    uint8_t status
    uint8_t flags

ctypedef struct change_t:
    int32_t job
    uint8_t old
    uint8_t new

ctypedef struct action_t:
    int32_t kind
    int32_t worker
    int32_t job

ctypedef struct dispatcher_t:
    graph_t graph
    ready_t ready
    cache_t cache
    workers_t workers
    job_t *jobs
    int64_t n_jobs
    int64_t job_capacity
    int64_t[N_STATUSES] counts
    int64_t unfinished
    bint started
    bint aborted
    bint track_all
    change_t *changes
    int64_t n_changes
    int64_t change_capacity
    action_t *actions
    int64_t n_actions
    int64_t action_capacity
    ints_t cascade  # jobs to cancel because a dependency did not succeed
    int fault  # the first error, a fault_t; 0 if there was none
    change_t illegal  # the transition of FAULT_ILLEGAL


# Functions that `worker_queues` uses, too.


cdef inline int fail(dispatcher_t *d, int fault) noexcept nogil:
    """Keep the first fault; return `fault`."""
    if d.fault == 0:
        d.fault = fault
    return fault


cdef inline int record_change(dispatcher_t *d, change_t change) noexcept nogil:
    if grow(<void **>&d.changes, &d.change_capacity, d.n_changes + 1, sizeof(change_t)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    d.changes[d.n_changes] = change
    d.n_changes += 1
    return 0


cdef inline int record_action(
    dispatcher_t *d, int32_t kind, int32_t worker, int32_t job
) noexcept nogil:
    if grow(<void **>&d.actions, &d.action_capacity, d.n_actions + 1, sizeof(action_t)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    d.actions[d.n_actions] = action_t(kind, worker, job)
    d.n_actions += 1
    return 0


cdef inline int set_status(dispatcher_t *d, int32_t job, uint8_t new) noexcept nogil:
    """Change the status of a job if the transition is legal; record the change if tracked."""
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
    if d.track_all or entry.flags & TRACKED:
        return record_change(d, change_t(job, old, new))
    return 0


# ------------------------------------------------------------------ life cycle

cdef inline void dispatcher_init(dispatcher_t *d) noexcept nogil:
    memset(d, 0, sizeof(dispatcher_t))
    graph_init(&d.graph)
    ready_init(&d.ready)
    cache_init(&d.cache)
    workers_init(&d.workers)


cdef inline void dispatcher_free(dispatcher_t *d) noexcept nogil:
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

cdef inline int32_t dispatcher_submit(
    dispatcher_t *d, const int32_t *deps, int64_t n, int32_t join, int32_t cache_set,
    uint8_t flags,
) noexcept nogil:
    """Add a job that waits for `deps` and for `join`, unless that is -1; return its id.

    Dependencies that have succeeded count as met. If a dependency ended otherwise, or the run was
    aborted, the new job is cancelled at once.
    """
    cdef int32_t job = <int32_t>d.n_jobs
    cdef bint failed = join >= 0 and d.graph.joins[join].state == JOIN_FAILED
    cdef int64_t i
    if grow(<void **>&d.jobs, &d.job_capacity, d.n_jobs + 1, sizeof(job_t)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    if ready_reserve(&d.ready, d.n_jobs + 1) < 0 or graph_add_job(&d.graph) < 0:
        return fail(d, FAULT_NO_MEMORY)
    d.jobs[job] = job_t(CACHE_NO_SET, NO_WORKER, -1, PENDING, flags)
    d.n_jobs += 1
    d.counts[<int>PENDING] += 1
    d.unfinished += 1
    if d.track_all and record_change(d, change_t(job, ADDED, PENDING)) < 0:
        return d.fault
    for i in range(n):
        if status_is_unsuccessful(d.jobs[deps[i]].status):
            failed = True
    if failed or d.aborted:
        d.jobs[job].flags |= DEPENDENCY_FAILED if failed else RUN_ENDED
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


cdef inline int32_t dispatcher_add_join(
    dispatcher_t *d, const int32_t *jobs, int64_t n
) noexcept nogil:
    """Add a shared set of dependencies; return its number for `dispatcher_submit`."""
    cdef int32_t join = graph_add_join(&d.graph)
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
            d.graph.joins[join].state = JOIN_FAILED
    if d.graph.joins[join].unmet == 0 and d.graph.joins[join].state == JOIN_OPEN:
        d.graph.joins[join].state = JOIN_MET
    return join


cdef inline int dispatcher_start_run(dispatcher_t *d) noexcept nogil:
    """Allow jobs to run: those without unmet dependencies become QUEUED."""
    cdef int32_t job
    if d.started:
        return 0
    d.started = True
    for job in range(<int32_t>d.n_jobs):
        if d.jobs[job].status == PENDING and d.graph.vertices[job].unmet == 0:
            if make_ready(d, job) < 0:
                return d.fault
    return 0


cdef inline int make_ready(dispatcher_t *d, int32_t job) noexcept nogil:
    ready_push(&d.ready, job)
    return set_status(d, job, QUEUED)


# ------------------------------------------------------------------ running

cdef inline int32_t dispatcher_start_next(dispatcher_t *d) noexcept nogil:
    """Make the oldest ready job RUNNING in this process; return it, or -1 if none is ready."""
    cdef int32_t job = ready_pop(&d.ready)
    if job == READY_EMPTY:
        return -1
    return job if set_status(d, job, RUNNING) == 0 else d.fault


cdef inline int dispatcher_start_job(dispatcher_t *d, int32_t job) noexcept nogil:
    """Make a given job RUNNING in this process; return FAULT_ILLEGAL if it is not ready.

    That is an error of the pool's user, so `dispatcher_t.fault` is not set.
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

cdef inline int dispatcher_finish(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """End a job: release its cache items and update its dependents."""
    cdef int64_t i
    cdef int32_t dependent
    d.cascade.size = 0
    if end_one(d, job, outcome) < 0:
        return d.fault
    for i in range(d.graph.met.size):
        dependent = d.graph.met.data[i]
        if d.started and d.jobs[dependent].status == PENDING and make_ready(d, dependent) < 0:
            return d.fault
    # Dependents that can no longer run are cancelled depth first, without recursion.
    while d.cascade.size:
        d.cascade.size -= 1
        dependent = d.cascade.data[d.cascade.size]
        if status_is_terminal(d.jobs[dependent].status):
            continue
        d.jobs[dependent].flags |= DEPENDENCY_FAILED
        if end_one(d, dependent, CANCELLED) < 0:
            return d.fault
    return 0


cdef inline int end_one(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """End one job; add the dependents that can no longer run to the cascade."""
    cdef int64_t i
    if set_status(d, job, outcome) < 0:
        return d.fault
    if d.jobs[job].cache_set != CACHE_NO_SET:
        if cache_release(&d.cache, d.jobs[job].cache_set) < 0:
            return fail(d, FAULT_NO_MEMORY)
    if graph_settle(&d.graph, job, outcome == SUCCESS) < 0:
        return fail(d, FAULT_NO_MEMORY)
    for i in range(d.graph.failed.size):
        if ints_push(&d.cascade, d.graph.failed.data[i]) < 0:
            return fail(d, FAULT_NO_MEMORY)
    return 0


cdef inline int dispatcher_cancel(dispatcher_t *d, int32_t job) noexcept nogil:
    """Cancel a job unless it has ended; return its status before."""
    cdef uint8_t old = d.jobs[job].status
    if status_is_terminal(old):
        return old
    if old == QUEUED and d.jobs[job].worker == NO_WORKER:
        ready_remove(&d.ready, job)
    elif d.jobs[job].worker != NO_WORKER and old == QUEUED:
        if record_action(d, SEND_SKIP, d.jobs[job].worker, job) < 0:
            return d.fault
    return old if dispatcher_finish(d, job, CANCELLED) == 0 else d.fault


cdef inline int dispatcher_abort_run(dispatcher_t *d) noexcept nogil:
    """End the run: RUNNING jobs become ABORTED, PENDING and QUEUED jobs CANCELLED."""
    cdef int32_t job
    d.aborted = True
    for job in range(<int32_t>d.n_jobs):
        if status_is_terminal(d.jobs[job].status):
            continue
        d.jobs[job].flags |= RUN_ENDED
        if d.jobs[job].status == QUEUED and d.jobs[job].worker == NO_WORKER:
            ready_remove(&d.ready, job)
        if end_one(d, job, ABORTED if d.jobs[job].status == RUNNING else CANCELLED) < 0:
            return d.fault
    d.cascade.size = 0  # the loop above has ended these, too
    return 0
