# Jobs without options that had better run on the worker that keeps their large inputs.
#
# Such a job is in the ready set like any other, so any worker may get it. In addition it is in the
# stack of the worker that keeps most of its inputs, which looks there first. A stack may still have
# jobs that another worker has got, or that were cancelled; they are dropped when they are found.
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, qsort
from libc.string cimport memset

cdef enum:
    MAX_OVERTAKING = 32  # then the first ready job is next, so that none waits forever

ctypedef struct local_stack_t:
    ints_t jobs
    int32_t n_overtaking  # the jobs that the worker got since it got the first ready one

ctypedef struct local_jobs_t:
    ints_t fresh  # the jobs that became ready since the last assignment
    local_stack_t *stacks  # by worker; NULL until one is needed
    int32_t n_stacks
    int64_t n  # the jobs in all stacks


cdef inline void local_init(local_jobs_t *l) noexcept nogil:
    memset(l, 0, sizeof(local_jobs_t))


cdef inline void local_free(local_jobs_t *l) noexcept nogil:
    cdef int32_t i
    for i in range(l.n_stacks):
        ints_free(&l.stacks[i].jobs)
    free(l.stacks)
    ints_free(&l.fresh)
    local_init(l)


cdef inline bint local_open(local_jobs_t *l, int32_t n_workers) noexcept nogil:
    """Ensure that there are stacks; return False when memory is exhausted."""
    if l.stacks == NULL:
        l.stacks = <local_stack_t *>calloc(n_workers, sizeof(local_stack_t))
        if l.stacks == NULL:
            return False
        l.n_stacks = n_workers
    return True


cdef inline void local_sort_fresh(local_jobs_t *l) noexcept nogil:
    """Sort the jobs that became ready: dependents of a job become ready in any order."""
    if l.fresh.size > 1:
        qsort(l.fresh.data, <size_t>l.fresh.size, sizeof(int32_t), compare_jobs)


cdef inline int compare_jobs(const void *a, const void *b) noexcept nogil:
    cdef int32_t first = (<const int32_t *>a)[0]
    cdef int32_t second = (<const int32_t *>b)[0]
    return (first > second) - (first < second)


cdef inline void local_push(local_jobs_t *l, int32_t worker, int32_t job) noexcept nogil:
    """Add a job to the stack of a worker. Without memory it is just not there."""
    if ints_push(&l.stacks[worker].jobs, job) == 0:
        l.n += 1


cdef inline void local_pop(local_jobs_t *l, int32_t worker) noexcept nogil:
    l.stacks[worker].jobs.size -= 1
    l.n -= 1


cdef inline bint local_may_overtake(local_jobs_t *l, int32_t worker, bint is_first) noexcept nogil:
    """Whether a worker may get a local job now; `is_first`: it is the first ready job."""
    if is_first:
        l.stacks[worker].n_overtaking = 0
    elif l.stacks[worker].n_overtaking == MAX_OVERTAKING:
        return False
    else:
        l.stacks[worker].n_overtaking += 1
    return True
