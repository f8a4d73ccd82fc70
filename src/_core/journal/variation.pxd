# Jobs whose results can vary between runs although their keys are the same: those that follow other
# jobs, whatever their outcome, and those with an argument that is not in the journal.
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.journal.key_table cimport KeyTable, entry_t
from bsbpool._core.journal.keys cimport JobKeys, job_key_t
from bsbpool._core.scheduling.status cimport SUCCESS
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    FOLLOWS = 1  # it depends on how other jobs end, or on jobs that vary
    RUNS = 2  # a job that is not journaled is an argument, so it always runs


cdef inline job_key_t *entry_of(JobKeys keys, Submitter pool, object job) noexcept:
    """Return the entry of a job; NULL if it has none, as that of another pool."""
    if not isinstance(job, Handle) or (<Handle>job).pool is not pool:
        return NULL
    if not 0 <= (<Handle>job).number < keys.n:
        return NULL
    return keys.jobs + (<Handle>job).number


cdef inline uint8_t variation(
    JobKeys keys, Submitter pool, Handle job, object others, bint has_unrecorded, bint any_varies
) except? 255:
    """Return how the result of a job can vary: FOLLOWS, RUNS or 0.

    `others` are the jobs that it follows, `has_unrecorded` tells whether an argument is a job that
    is not journaled, and `any_varies` whether any job so far varies.
    """
    cdef job_key_t *entry
    if has_unrecorded:
        return RUNS
    if others:
        return FOLLOWS
    if any_varies and job.deps is not None:
        for dep in job.deps:
            entry = entry_of(keys, pool, dep)
            if entry != NULL and entry.varies:
                return FOLLOWS
    return 0


cdef inline bint precedes(KeyTable table, job_key_t *entry, int64_t offset) noexcept:
    return entry != NULL and entry.is_resumed and table.find(entry.key).offset < offset


cdef inline bint is_current(
    JobKeys keys, KeyTable table, Submitter pool, Handle job, object others, uint8_t varies,
    int64_t offset,
) except -1:
    """Whether a job that varies would have the result of the record at an offset.

    All jobs that it follows must have been resumed, from earlier records: a later one is that of
    another run, after which the job has not ended.
    """
    cdef job_key_t *entry
    if varies == RUNS:
        return False
    for dep in others:
        if not precedes(table, entry_of(keys, pool, dep), offset):
            return False
    for dep in job.deps or ():
        entry = entry_of(keys, pool, dep)
        if entry != NULL and entry.varies and not precedes(table, entry, offset):
            return False
    return True


cdef inline uint32_t failed_attempts(const entry_t *known) noexcept:
    """Return how often a job has failed in earlier runs; it may run again after a success."""
    if not known.is_used or not known.attempts:
        return 0
    return known.attempts - (known.offset >= 0 and known.status == SUCCESS)
