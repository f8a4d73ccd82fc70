# When the jobs of a pool were queued, began and ended, for pools that ask for it.
#
# A pool without times has no table, and its jobs cost one test of a pointer each.
from bsbpool._core.vector cimport grow
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

# Times are of the main rank's monotonic clock; 0: not yet.
ctypedef struct job_times_t:
    int64_t submitted_ns
    int64_t started_ns
    int64_t received_ns  # when the reply arrived
    int64_t run_ns
    uint64_t bytes_in  # of the arguments
    uint64_t bytes_out  # of the result or error
    int32_t rank  # that ran it; -1 if none has
    int32_t attempts  # how often it ran to its end

# An attempt of a job that ended, and after which the job ran again; `times.attempts` is its number
# among those that ended.
ctypedef struct attempt_t:
    job_times_t times
    int64_t job

ctypedef struct times_t:
    job_times_t *jobs
    int64_t n
    int64_t capacity
    attempt_t *earlier  # in the order in which they ended
    int64_t n_earlier
    int64_t earlier_capacity


cdef inline job_times_t *times_of(times_t *t, int64_t job) noexcept nogil:
    """Return the entry of a job; NULL if memory is out."""
    if job >= t.n:
        if grow(<void **>&t.jobs, &t.capacity, job + 1, sizeof(job_times_t)) < 0:
            return NULL
        memset(t.jobs + t.n, 0, <size_t>(job + 1 - t.n) * sizeof(job_times_t))
        while t.n <= job:
            t.jobs[t.n].rank = -1
            t.n += 1
    return t.jobs + job


cdef inline int times_submitted(times_t *t, int64_t job, int64_t now) noexcept nogil:
    cdef job_times_t *entry = times_of(t, job)
    if entry == NULL:
        return -1
    entry.submitted_ns = now
    return 0


cdef inline int times_sent(times_t *t, int64_t job, uint64_t size) noexcept nogil:
    cdef job_times_t *entry = times_of(t, job)
    if entry == NULL:
        return -1
    entry.bytes_in = size
    return 0


cdef inline int times_keep(times_t *t, int64_t job, const job_times_t *entry) noexcept nogil:
    """Keep an entry that is about to be replaced by that of the next attempt."""
    if grow(
        <void **>&t.earlier, &t.earlier_capacity, t.n_earlier + 1, sizeof(attempt_t)
    ) < 0:
        return -1
    t.earlier[t.n_earlier].times = entry[0]
    t.earlier[t.n_earlier].job = job
    t.n_earlier += 1
    return 0


cdef inline int times_ended(
    times_t *t, int64_t job, int32_t rank, int64_t started, int64_t run, int64_t now, uint64_t size,
) noexcept nogil:
    cdef job_times_t *entry = times_of(t, job)
    if entry == NULL or (entry.attempts and times_keep(t, job, entry) < 0):
        return -1
    entry.rank = rank
    entry.started_ns = started
    entry.run_ns = run
    entry.received_ns = now
    entry.bytes_out = size
    entry.attempts += 1
    return 0
