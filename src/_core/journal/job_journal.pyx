"""The journal of a pool: what happens for each job that is queued.

A job gets its key when it is queued. If the journal has its result, the job succeeds at once, else
it is queued as usual, and its end is recorded, see `EndRecorder`. Python code does what few jobs
need, see `JournalCallbacks`.
"""
cimport cython
from bsbpool._core.jobs.handle cimport Handle, StoredResult
from bsbpool._core.jobs.input_items cimport with_dependencies, with_input_items
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.journal.end_recorder cimport EndRecorder, record_end
from bsbpool._core.journal.key_table cimport KeyTable, entry_t
from bsbpool._core.journal.keys cimport JobKeys, job_key_t
from bsbpool._core.journal.layout cimport NOTHING, PICKLE
from bsbpool._core.journal.records cimport RecordBuffer
from bsbpool._core.journal.variation cimport failed_attempts, is_current, variation
from bsbpool._core.scheduling.dispatcher cimport (
    dispatcher_finish, dispatcher_start_job, dispatcher_submit,
)
from bsbpool._core.scheduling.dispatcher_tables cimport TRACKED
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport SUCCESS, status_is_terminal
from bsbpool._core.vector cimport ints_free, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy


cdef class JobJournal(EndRecorder):
    """Records the jobs of a pool, and resumes those of earlier runs.

    Parameters
    ----------
    pool : Submitter
        The pool.
    keys : JobKeys
        Makes the keys.
    table : KeyTable
        The jobs of the journal.
    buffer : RecordBuffer
        Gets the records.
    callbacks : JournalCallbacks
        Do the rare work.
    reader : object
        Reads the results, see `JournaledResult`.
    limit : int
        Bytes of records that may wait for the writer.
    every_group : bool
        Whether to call `group_ended` after each group of jobs that ended.
    version : object
        Part of all keys that are made; None for none.

    Attributes
    ----------
    active : bool
        Whether records are appended.
    every_group : bool
        As above.
    n_resumed, n_recorded : int
        Jobs that were resumed, and that ended in this run.
    """

    cdef KeyTable table
    cdef object reader
    cdef object version
    cdef bint put_is_own
    cdef bint any_varies
    cdef readonly int64_t n_resumed

    def __init__(
        self, Submitter pool not None, JobKeys keys not None, KeyTable table not None,
        RecordBuffer buffer not None, callbacks, reader, int64_t limit, bint every_group,
        version=None,
    ):
        super().__init__(pool, keys, buffer, callbacks, limit, every_group)
        self.table, self.reader, self.version = table, reader, version
        keys.open_pool(pool)

    def connect(self):
        """Get the jobs that are queued in the pool from now on, and their ends."""
        self.put_is_own = self.pool.requires_put
        self.pool.requires_put = True
        self.pool.journal = self
        self.pool.record_end = record_end
        self.pool.queue_recorded = queue_recorded

    def put(self, Handle job not None, int32_t cache_set, special):
        """Queue a job that the caller made; return False if it has no key and is not recorded.

        Parameters
        ----------
        job : Handle
            The job, with its dependencies in `_deps`.
        cache_set : int
            The set of cache items that it needs; -1 for none.
        special : SpecialSubmission or None
            Its options.
        """
        cdef uint8_t[32] key
        cdef entry_t *known
        cdef bint recorded = True
        cdef bint tracked
        cdef uint8_t varies
        cdef int64_t before = self.keys.n_not_journaled
        name, version, extra = None, None, ()
        if job.options is not None:
            name, version, extra, recorded = self.callbacks.key_options(job)
        if job.deps is not None:
            self.pool.sets.check(job)
        deps = (*(job.deps or ()), *extra) if extra else job.deps
        if name is not None:
            self.keys.make_named(name, key)
        elif recorded:
            self.make_key(job, deps, version, key)
            self.keys.complete(key)
        else:
            try:  # a key, if it has one, for the keys of the jobs that depend on it
                self.keys.make(job, deps, version, key)
            except TypeError:
                return False
            self.keys.complete(key)
        varies = self.varies(job, extra, before)
        known = self.find(key)
        try:
            if recorded and known != NULL:
                tracked = bool(job.completion_callbacks)
                if self.resume(job, key, known, extra, varies, tracked):
                    return True
                if special is not None and failed_attempts(known):
                    special = self.callbacks.with_attempts(job, special, failed_attempts(known))
            if special is None:
                tracked = recorded or bool(job.completion_callbacks)
                self.pool.submit(job, job.deps, cache_set, tracked)
            else:
                special.submit(self.pool, job, cache_set, True)
        except BaseException:
            if job.number < 0:
                self.keys.forget(key)
            raise
        self.enter_key(job, key, known, varies)
        self.keys.jobs[job.number].is_silent = not recorded
        self.keys.jobs[job.number].is_not_journaled = not recorded and not job.options.journaled
        return True

    cdef int make_key(self, Handle job, object deps, object version, uint8_t *key) except -1:
        """Digest the call of a job; see `JobKeys.make`."""
        if version is not None or self.version is not None:
            version = self.version, version
        try:
            self.keys.make(job, deps, version, key)
        except TypeError as error:
            self.callbacks.refuse_key(job, error)
            raise
        return 0

    cdef uint8_t varies(self, Handle job, object others, int64_t before) except? 255:
        """Return how the result of a job that has its key can vary between runs."""
        cdef bint is_new = self.keys.n_not_journaled != before
        cdef uint8_t found = variation(self.keys, self.pool, job, others, is_new, self.any_varies)
        self.any_varies = self.any_varies or found
        return found

    cdef entry_t *find(self, const uint8_t *key) noexcept:
        """Return what the journal has of a job; NULL if it has nothing."""
        cdef entry_t *known
        if self.table.n == 0:
            return NULL
        known = self.table.find(key)
        return known if known.is_used else NULL

    cdef int enter_key(
        self, Handle job, const uint8_t *key, entry_t *known, uint8_t varies
    ) except -1:
        """Note the key of a job that was queued."""
        cdef job_key_t *entry = self.keys.entry(job.number)
        memcpy(entry.key, key, 16)
        entry.has_key = True
        entry.varies = varies
        if known != NULL:
            known.was_seen = True
            entry.attempts = failed_attempts(known)
        return 0

    cdef bint resume(
        self, Handle job, const uint8_t *key, entry_t *known, object others, uint8_t varies,
        bint tracked,
    ) except -1:
        """Queue and end a job whose end the journal has; return False if it has not.

        With `tracked`, the end of the job is reported.
        """
        cdef Engine engine = self.pool.engine
        cdef JournaledResult result
        cdef int32_t number
        cdef uint8_t status = known.status
        if known.offset < 0:
            return False
        if varies and not is_current(
            self.keys, self.table, self.pool, job, others, varies, known.offset
        ):
            return False
        if status == SUCCESS and known.payload_kind == NOTHING:
            outcome = None
        elif status == SUCCESS and known.payload_kind == PICKLE:
            result = JournaledResult.__new__(JournaledResult)
            result.reader, result.offset = self.reader, known.offset
            outcome = result
        else:
            ended, outcome = self.callbacks.load(status, known.payload_kind, known.offset)
            if not ended:
                return False
        tracked = tracked or status != SUCCESS or self.pool.on_job_end is not None
        # No Python code runs between these lines, so that no rank gets the job.
        number = dispatcher_submit(
            &engine.d, NULL, 0, NULL, 0, -1, TRACKED if tracked else 0, NULL
        )
        self.pool.enter(job, number)
        self.enter_key(job, key, known, varies)
        self.keys.jobs[number].is_silent = True
        self.keys.jobs[number].is_resumed = True
        if status_is_terminal(engine.d.jobs[number].status):
            return True  # the run was aborted, which has cancelled the job
        if dispatcher_start_job(&engine.d, number) < 0:
            engine.raise_fault()
        self.n_resumed += 1
        if status != SUCCESS:
            self.callbacks.fail(job, outcome)
            return True
        job.outcome = outcome
        if dispatcher_finish(&engine.d, number, SUCCESS) < 0:
            engine.raise_fault()
        return True


@cython.no_gc  # the reader holds no reference to results, and there may be very many of these
cdef class JournaledResult(StoredResult):
    """A result that is in the journal. It is read anew for each reader.

    Parameters
    ----------
    reader : object
        Has a method `read(offset)` that returns the pickle of the result and its buffers.
    offset : int
        The offset of the record.
    """

    cdef object reader
    cdef int64_t offset

    def __init__(self, reader, int64_t offset):
        self.reader, self.offset = reader, offset

    def load(self, bint copy):
        return self.reader.read(self.offset)


cdef object queue_recorded(object target, object f, tuple args, object kwargs, object deps):
    """Queue a call without options; None if the pool must queue it with `put`."""
    cdef JobJournal journal = <JobJournal>target
    cdef Submitter pool = journal.pool
    cdef Handle job
    cdef uint8_t[32] key
    cdef entry_t *known = NULL
    cdef ints_t ids = ints_t(NULL, 0, 0)
    cdef int32_t number
    cdef int32_t join = -1
    cdef int32_t cache_set = -1
    cdef uint8_t varies
    cdef bint is_complete = journal.table.n != 0
    cdef int64_t before = journal.keys.n_not_journaled
    if journal.put_is_own:
        return None
    job = pool.new_job(f, args, kwargs, None)
    if job.has_inputs:
        deps = with_dependencies(pool, job, deps, pool.with_inputs)
    try:
        if deps is not None:
            join = pool.sets.read(deps, &ids, job)
        journal.make_key(job, job.deps, None, key)
        varies = journal.varies(job, None, before)
        if is_complete:
            journal.keys.complete(key)
        try:
            known = journal.find(key)
            if known != NULL and journal.resume(job, key, known, (), varies, False):
                return job
            if job.has_inputs and pool.notify != NULL:
                cache_set = with_input_items(pool, &pool.engine.d, job, cache_set)
        except BaseException:
            if is_complete and job.number < 0:
                journal.keys.forget(key)
            raise
        number = dispatcher_submit(
            &pool.engine.d, ids.data, ids.size, &join, join >= 0, cache_set, TRACKED, NULL,
        )
    finally:
        ints_free(&ids)
    pool.enter(job, number)
    if not is_complete:  # at last, when the slot of the table is in the cache of the processor
        journal.keys.complete(key)
    journal.enter_key(job, key, known, varies)
    return job
