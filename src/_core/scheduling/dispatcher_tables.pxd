# The tables of the dispatcher: jobs, dependencies, ready jobs, cache items and workers.
#
# `set_status` changes the status of a job and nothing else; the other changes of several tables are
# the events of `dispatcher` and `worker_queues`. `waiting` has what happens to a ready job.
from bsbpool._core.scheduling.cache_refs cimport cache_free, cache_init, cache_t
from bsbpool._core.scheduling.graph cimport graph_free, graph_init, graph_t
from bsbpool._core.scheduling.local_jobs cimport local_free, local_init, local_jobs_t
from bsbpool._core.scheduling.ready cimport ready_free, ready_init, ready_t
from bsbpool._core.scheduling.special cimport specials_free, specials_init, specials_t
from bsbpool._core.scheduling.status cimport N_STATUSES, status_is_legal, status_is_terminal
from bsbpool._core.scheduling.workers cimport workers_free, workers_init, workers_t
from bsbpool._core.vector cimport grow
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
    SPECIAL = 8  # has an entry in `specials_t`
    # `data_items` has the flags 16 to 64
    TAKES_DATA = 128  # has results of other jobs as arguments, which workers may keep

cdef enum action_kind:
    SEND_JOB = 0  # send a job to a worker
    SEND_SKIP = 1  # let a worker skip a job, which was cancelled
    REFUSE_JOB = 2  # end a job as FAILED, since no worker is left that may run it
    SEND_GANG = 3  # send a job to all workers of its gang

cdef enum:
    ADDED = 0xFF  # the old status in the change that records the addition of a job

ctypedef struct job_t:
    int32_t cache_set
    int32_t worker  # the worker in whose queue it is
    int32_t next  # the next job of that queue; -2 - worker after it has left the queue
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
    local_jobs_t local
    job_t *jobs
    int64_t n_jobs
    int64_t job_capacity
    int64_t[N_STATUSES] counts
    int64_t unfinished
    bint started
    bint aborted
    bint track_all
    specials_t special
    change_t *changes
    int64_t n_changes
    int64_t change_capacity
    action_t *actions
    int64_t n_actions
    int64_t action_capacity
    int fault  # the first error, a fault_t; 0 if there was none
    change_t illegal  # the transition of FAULT_ILLEGAL


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
    local_init(&d.local)
    specials_init(&d.special)


cdef inline void dispatcher_free(dispatcher_t *d) noexcept nogil:
    graph_free(&d.graph)
    ready_free(&d.ready)
    cache_free(&d.cache)
    workers_free(&d.workers)
    local_free(&d.local)
    specials_free(&d.special)
    free(d.jobs)
    free(d.changes)
    free(d.actions)
    dispatcher_init(d)
