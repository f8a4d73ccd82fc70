# The invariants of the stacks of jobs that had better run where their inputs are.
from bsbpool._core.scheduling.cache_refs cimport CACHE_NO_SET
from bsbpool._core.scheduling.dispatcher_tables cimport SPECIAL, TAKES_DATA, dispatcher_t
from bsbpool._core.scheduling.local_jobs cimport MAX_OVERTAKING
from bsbpool._core.testing.invariant_report cimport expect, report_t
from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, int64_t


cdef inline void check_local(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef int64_t n = 0
    cdef int32_t cache_set
    cdef int64_t i
    for i in range(d.n_jobs):
        cache_set = d.jobs[i].cache_set
        if cache_set != CACHE_NO_SET:
            expect(
                r, "job has data items", i, d.jobs[i].flags & TAKES_DATA != 0,
                d.cache.sets[cache_set].has_data,
            )
    check_local_jobs(d, r, &d.local.fresh)
    expect(r, "stacks of jobs", 0, d.local.n_stacks == 0 or d.local.n_stacks == d.workers.n, True)
    for i in range(d.local.n_stacks):
        n += d.local.stacks[i].jobs.size
        check_local_jobs(d, r, &d.local.stacks[i].jobs)
        expect(
            r, "jobs that overtook", i, 0 <= d.local.stacks[i].n_overtaking <= MAX_OVERTAKING, True
        )
    expect(r, "jobs in stacks", 0, d.local.n, n)


cdef inline void check_local_jobs(dispatcher_t *d, report_t *r, ints_t *jobs) noexcept nogil:
    """Jobs in stacks may have been sent or may have ended, but no others can ever be there."""
    cdef int64_t i
    for i in range(jobs.size):
        expect(r, "job in a stack exists", i, 0 <= jobs.data[i] < d.n_jobs, True)
        if 0 <= jobs.data[i] < d.n_jobs:
            expect(
                r, "flags of a job in a stack", jobs.data[i],
                d.jobs[jobs.data[i]].flags & (TAKES_DATA | SPECIAL), TAKES_DATA,
            )
