# Which worker keeps the large results that a job has as arguments.
from bsbpool._core.scheduling.cache_refs cimport item_set_t, item_t
from bsbpool._core.scheduling.data_items cimport IS_KEPT
from bsbpool._core.scheduling.dispatcher_tables cimport dispatcher_t, job_t
from bsbpool._core.scheduling.waiting cimport last_worker
from bsbpool._core.scheduling.workers cimport NO_WORKER
from libc.stdint cimport int32_t, int64_t

cdef enum:
    MAX_COUNTED = 8  # of the inputs of a job

ctypedef struct worker_count_t:
    int32_t worker
    int32_t n


cdef inline int32_t worker_with_inputs(dispatcher_t *d, int32_t job) noexcept nogil:
    """Return the worker that keeps most of the first inputs of a job, or NO_WORKER.

    If several keep equally many, it is the one that has the fewest jobs.
    """
    cdef worker_count_t[MAX_COUNTED] found
    cdef item_set_t *inputs = &d.cache.sets[d.jobs[job].cache_set]
    cdef int64_t end = inputs.start + min(inputs.size, <int64_t>MAX_COUNTED)
    cdef int n = 0
    cdef int32_t worker
    cdef int64_t i
    for i in range(inputs.start, end):
        worker = keeper_of(d, &d.cache.items[d.cache.members.data[i]])
        if worker != NO_WORKER:
            n = count_worker(found, n, worker)
    worker = NO_WORKER
    end = 0
    for i in range(n):
        if found[i].n > end or (
            found[i].n == end
            and d.workers.slots[found[i].worker].in_flight < d.workers.slots[worker].in_flight
        ):
            worker = found[i].worker
            end = found[i].n
    return worker


cdef inline int count_worker(worker_count_t *found, int n, int32_t worker) noexcept nogil:
    """Count one more input of a worker; return how many workers have inputs."""
    cdef int i
    for i in range(n):
        if found[i].worker == worker:
            found[i].n += 1
            return n
    found[n] = worker_count_t(worker, 1)
    return n + 1


cdef inline int32_t keeper_of(dispatcher_t *d, item_t *item) noexcept nogil:
    """Return the worker that has made and keeps an item, and may get jobs; or NO_WORKER."""
    cdef int64_t id = <int64_t>item.token
    cdef job_t *source
    cdef int32_t worker
    if not item.is_data or id < 0:
        return NO_WORKER
    source = &d.jobs[id]
    if not source.flags & IS_KEPT:
        return NO_WORKER
    worker = last_worker(source)
    if worker == NO_WORKER or not d.workers.slots[worker].available:
        return NO_WORKER
    return worker
