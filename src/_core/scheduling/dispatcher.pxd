from bsbpool._core.scheduling.cache_refs cimport cache_t
from bsbpool._core.scheduling.graph cimport graph_t
from bsbpool._core.scheduling.ready cimport ready_t
from bsbpool._core.scheduling.status cimport N_STATUSES, status_is_legal, status_is_terminal
from bsbpool._core.scheduling.workers cimport workers_t
from bsbpool._core.vector cimport grow, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t

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
    SEND = 0
    WITHDRAW = 1

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

cdef void dispatcher_init(dispatcher_t *d) noexcept nogil
cdef void dispatcher_free(dispatcher_t *d) noexcept nogil
cdef int32_t dispatcher_submit(
    dispatcher_t *d, const int32_t *deps, int64_t n, int32_t join, int32_t cache_set,
    uint8_t flags,
) noexcept nogil
cdef int32_t dispatcher_add_join(dispatcher_t *d, const int32_t *jobs, int64_t n) noexcept nogil
cdef int dispatcher_start_run(dispatcher_t *d) noexcept nogil
cdef int32_t dispatcher_start_next(dispatcher_t *d) noexcept nogil
cdef int dispatcher_start_job(dispatcher_t *d, int32_t job) noexcept nogil
cdef int dispatcher_finish(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil
cdef int dispatcher_cancel(dispatcher_t *d, int32_t job) noexcept nogil
cdef int dispatcher_abort_run(dispatcher_t *d) noexcept nogil


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
