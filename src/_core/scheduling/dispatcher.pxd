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
from bsbpool._core.scheduling.cache_refs cimport CACHE_NO_SET, cache_acquire, cache_release
from bsbpool._core.scheduling.dispatcher_tables cimport (
    ADDED,
    DEPENDENCY_FAILED,
    FAULT_ILLEGAL,
    FAULT_NO_MEMORY,
    RUN_ENDED,
    SEND_SKIP,
    SPECIAL,
    TAKES_DATA,
    change_t,
    dispatcher_t,
    fail,
    job_t,
    record_action,
    record_change,
    set_status,
)
from bsbpool._core.scheduling.graph cimport (
    END_CANCELLED,
    END_FAILURE,
    END_SUCCESS,
    JOIN_FAILED,
    JOIN_OPEN,
    ending_t,
    graph_add_job,
    graph_add_join,
    graph_close_join,
    graph_depend,
    graph_depend_join,
    graph_join_ended_member,
    graph_join_member,
    graph_settle,
)
from bsbpool._core.scheduling.ready cimport READY_EMPTY, ready_pop, ready_push, ready_reserve
from bsbpool._core.scheduling.special cimport special_t, specials_add
from bsbpool._core.scheduling.status cimport (
    ABORTED,
    CANCELLED,
    PENDING,
    QUEUED,
    RUNNING,
    SUCCESS,
    status_is_terminal,
    status_is_unsuccessful,
)
from bsbpool._core.scheduling.waiting cimport (
    make_waiting,
    release_resources,
    reserve_here,
    run_again,
    stop_waiting,
    waiting_pop,
)
from bsbpool._core.scheduling.workers cimport NO_WORKER
from bsbpool._core.vector cimport grow, ints_push
from libc.stdint cimport int32_t, int64_t, uint8_t


# ------------------------------------------------------------------ submission

cdef inline int32_t dispatcher_submit(
    dispatcher_t *d, const int32_t *deps, int64_t n, const int32_t *joins, int64_t n_joins,
    int32_t cache_set, uint8_t flags, special_t *options,
) noexcept nogil:
    """Add a job that waits for `deps` and for `joins`; return its id.

    Dependencies that have succeeded and joins that are met do not count. If a dependency ended
    otherwise, a join has failed, or the run was aborted, the new job is cancelled at once.
    `options` is NULL for most jobs.
    """
    cdef int32_t job = <int32_t>d.n_jobs
    cdef bint failed = False
    cdef int64_t i
    if grow(<void **>&d.jobs, &d.job_capacity, d.n_jobs + 1, sizeof(job_t)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    if ready_reserve(&d.ready, d.n_jobs + 1) < 0 or graph_add_job(&d.graph) < 0:
        return fail(d, FAULT_NO_MEMORY)
    d.jobs[job] = job_t(CACHE_NO_SET, NO_WORKER, -1, PENDING, flags)
    d.n_jobs += 1
    if options != NULL:
        d.jobs[job].flags |= SPECIAL
        if specials_add(&d.special, options, job) < 0:
            return fail(d, FAULT_NO_MEMORY)
    d.counts[<int>PENDING] += 1
    d.unfinished += 1
    if d.track_all and record_change(d, change_t(job, ADDED, PENDING)) < 0:
        return d.fault
    for i in range(n):
        if status_is_unsuccessful(d.jobs[deps[i]].status):
            failed = True
    for i in range(n_joins):
        if d.graph.joins[joins[i]].state == JOIN_FAILED:
            failed = True
    if failed or d.aborted:
        d.jobs[job].flags |= DEPENDENCY_FAILED if failed else RUN_ENDED
        return job if set_status(d, job, CANCELLED) == 0 else d.fault
    for i in range(n):
        if d.jobs[deps[i]].status != SUCCESS and graph_depend(&d.graph, job, deps[i]) < 0:
            return fail(d, FAULT_NO_MEMORY)
    for i in range(n_joins):
        if d.graph.joins[joins[i]].state == JOIN_OPEN:
            if graph_depend_join(&d.graph, job, joins[i]) < 0:
                return fail(d, FAULT_NO_MEMORY)
    if cache_set != CACHE_NO_SET:
        d.jobs[job].cache_set = cache_set
        if cache_acquire(&d.cache, cache_set) < 0:
            return fail(d, FAULT_NO_MEMORY)
        if d.cache.sets[cache_set].has_data:
            d.jobs[job].flags |= TAKES_DATA
    if d.started and d.graph.vertices[job].unmet == 0 and make_ready(d, job) < 0:
        return d.fault
    return job


cdef inline int32_t dispatcher_add_join(
    dispatcher_t *d, const int32_t *jobs, int64_t n, uint8_t mode
) noexcept nogil:
    """Add a set of dependencies, possibly shared; return its number for `dispatcher_submit`."""
    cdef int32_t join = graph_add_join(&d.graph, mode)
    cdef int64_t i
    cdef uint8_t status
    if join < 0:
        return fail(d, FAULT_NO_MEMORY)
    for i in range(n):
        status = d.jobs[jobs[i]].status
        if status_is_terminal(status):
            graph_join_ended_member(&d.graph, join, ending_of(status))
        elif graph_join_member(&d.graph, join, jobs[i]) < 0:
            return fail(d, FAULT_NO_MEMORY)
    graph_close_join(&d.graph, join)
    return join


cdef inline ending_t ending_of(uint8_t status) noexcept nogil:
    """Return what a terminal status means for dependents."""
    if status == SUCCESS:
        return END_SUCCESS
    return END_CANCELLED if status == CANCELLED else END_FAILURE


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
    if d.jobs[job].flags & (SPECIAL | TAKES_DATA):
        if make_waiting(d, job) < 0:
            return d.fault
        if not d.jobs[job].flags & SPECIAL and d.workers.n:
            ints_push(&d.local.fresh, job)  # without memory any worker gets it
    else:
        ready_push(&d.ready, job)
    return set_status(d, job, QUEUED)


# ------------------------------------------------------------------ running

cdef inline int32_t dispatcher_start_next(dispatcher_t *d) noexcept nogil:
    """Make the first ready job RUNNING in this process; return it, or -1 if none is ready."""
    cdef int32_t job
    if d.special.n_ready:
        job = waiting_pop(d)
        if d.jobs[job].flags & SPECIAL and reserve_here(d, job) < 0:
            return d.fault
    else:
        job = ready_pop(&d.ready)
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
    stop_waiting(d, job)
    if d.jobs[job].flags & SPECIAL and reserve_here(d, job) < 0:
        return d.fault
    return set_status(d, job, RUNNING)


cdef inline int dispatcher_retry(dispatcher_t *d, int32_t job) noexcept nogil:
    """Make a job that has failed in this process, and may be retried, ready again."""
    release_resources(d, job)
    return run_again(d, job, NO_WORKER, False)


# ------------------------------------------------------------------ endings

cdef inline int dispatcher_finish(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """End a job: release its cache items and update its dependents."""
    cdef int64_t i
    cdef int32_t dependent
    d.graph.met.size = d.graph.failed.size = 0
    if end_one(d, job, outcome) < 0:
        return d.fault
    # Dependents that can no longer run are cancelled depth first, without recursion. This comes
    # first: a join of such a job may have failed while another one was met.
    while d.graph.failed.size:
        d.graph.failed.size -= 1
        dependent = d.graph.failed.data[d.graph.failed.size]
        if status_is_terminal(d.jobs[dependent].status):
            continue
        d.jobs[dependent].flags |= DEPENDENCY_FAILED
        if end_one(d, dependent, CANCELLED) < 0:
            return d.fault
    for i in range(d.graph.met.size):
        dependent = d.graph.met.data[i]
        if d.started and d.jobs[dependent].status == PENDING and make_ready(d, dependent) < 0:
            return d.fault
    return 0


cdef inline int end_one(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil:
    """End one job; add its dependents to `met` and `failed` of the graph."""
    if set_status(d, job, outcome) < 0:
        return d.fault
    if d.jobs[job].cache_set != CACHE_NO_SET:
        if cache_release(&d.cache, d.jobs[job].cache_set) < 0:
            return fail(d, FAULT_NO_MEMORY)
    if d.jobs[job].flags & SPECIAL and d.jobs[job].worker == NO_WORKER:
        release_resources(d, job)
    if graph_settle(&d.graph, job, ending_of(outcome)) < 0:
        return fail(d, FAULT_NO_MEMORY)
    return 0


cdef inline int dispatcher_cancel(dispatcher_t *d, int32_t job) noexcept nogil:
    """Cancel a job unless it has ended; return its status before."""
    cdef uint8_t old = d.jobs[job].status
    if status_is_terminal(old):
        return old
    if old == QUEUED and d.jobs[job].worker == NO_WORKER:
        stop_waiting(d, job)
    elif d.jobs[job].worker != NO_WORKER and old == QUEUED:
        if record_action(d, SEND_SKIP, d.jobs[job].worker, job) < 0:
            return d.fault
    return old if dispatcher_finish(d, job, CANCELLED) == 0 else d.fault


cdef inline int dispatcher_abort_run(dispatcher_t *d) noexcept nogil:
    """End the run: RUNNING jobs become ABORTED, PENDING and QUEUED jobs CANCELLED."""
    cdef int32_t job
    d.aborted = True
    d.graph.met.size = d.graph.failed.size = 0
    for job in range(<int32_t>d.n_jobs):
        if status_is_terminal(d.jobs[job].status):
            continue
        d.jobs[job].flags |= RUN_ENDED
        if d.jobs[job].status == QUEUED and d.jobs[job].worker == NO_WORKER:
            stop_waiting(d, job)
        if end_one(d, job, ABORTED if d.jobs[job].status == RUNNING else CANCELLED) < 0:
            return d.fault
    d.graph.met.size = d.graph.failed.size = 0  # the loop above has ended these, too
    return 0
