"""The journal of a pool: what happens for each job that is queued, and for each that ends.

A job gets its key when it is queued. If the journal has its result, the job succeeds at once, else
it is queued as usual. When a job has ended, the change log of the pool calls `record_end`, which
appends a record. Python code does what few jobs need, see `JournalCallbacks`.
"""
from bsbpool._core.jobs.handle cimport Handle, PickledResult
from bsbpool._core.jobs.input_items cimport with_dependencies, with_input_items
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.jobs.times cimport job_times_t, times_of
from bsbpool._core.journal.key_table cimport KeyTable, entry_t
from bsbpool._core.journal.keys cimport JobKeys, job_key_t
from bsbpool._core.journal.layout cimport ATTEMPT, ENDED, NOTHING, PICKLE, body_t
from bsbpool._core.journal.records cimport RecordBuffer
from bsbpool._core.journal.variation cimport failed_attempts, is_current, variation
from bsbpool._core.protocol.scalar_codec cimport MAX_SCALARS, scalars_dump
from bsbpool._core.scheduling.dispatcher cimport (
    dispatcher_finish, dispatcher_start_job, dispatcher_submit,
)
from bsbpool._core.scheduling.dispatcher_tables cimport RUN_ENDED, TRACKED
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport CANCELLED, FAILED, SUCCESS, status_is_terminal
from bsbpool._core.vector cimport ints_free, ints_t
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

cdef enum:
    LARGE = 16 * 1024  # bytes of a result from which Python code stores it
    MAX_NAMES = 4096


cdef class JobJournal:
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

    cdef Submitter pool
    cdef readonly JobKeys keys
    cdef KeyTable table
    cdef readonly RecordBuffer buffer
    cdef object callbacks
    cdef dict names
    cdef object last_function
    cdef uint32_t last_name
    cdef object version
    cdef int64_t limit
    cdef public bint every_group
    cdef bint put_is_own
    cdef bint any_varies
    cdef public bint active
    cdef readonly int64_t n_resumed
    cdef readonly int64_t n_recorded

    def __init__(
        self, Submitter pool not None, JobKeys keys not None, KeyTable table not None,
        RecordBuffer buffer not None, callbacks, int64_t limit, bint every_group, version=None,
    ):
        self.pool, self.keys, self.table = pool, keys, table
        self.buffer, self.callbacks = buffer, callbacks
        self.limit, self.every_group = limit, every_group
        self.names = {}
        self.version = version
        self.active = True
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
        else:
            try:  # a key, if it has one, for the keys of the jobs that depend on it
                self.keys.make(job, deps, version, key)
            except TypeError:
                return False
        varies = self.varies(job, extra, before)
        try:
            if recorded:
                if self.resume(job, key, extra, varies):
                    return True
                known = self.table.find(key)
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
        self.enter_key(job, key, varies)
        self.keys.jobs[job.number].is_silent = not recorded
        self.keys.jobs[job.number].is_not_journaled = not recorded and not job.options.journaled
        return True

    cdef int make_key(self, Handle job, object deps, object version, uint8_t *key) except -1:
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

    cdef int enter_key(self, Handle job, const uint8_t *key, uint8_t varies) except -1:
        """Note the key of a job that was queued."""
        cdef job_key_t *entry = self.keys.entry(job.number)
        cdef entry_t *known
        memcpy(entry.key, key, 16)
        entry.has_key = True
        entry.varies = varies
        if self.table.n == 0:
            return 0
        known = self.table.find(key)
        if known.is_used:
            known.was_seen = True
            entry.attempts = failed_attempts(known)
        return 0

    cdef bint resume(
        self, Handle job, const uint8_t *key, object others, uint8_t varies
    ) except -1:
        """Queue and end a job whose end the journal has; return False if it has not."""
        cdef entry_t *known
        cdef Engine engine = self.pool.engine
        cdef int32_t number
        cdef uint8_t status
        if self.table.n == 0:
            return False
        known = self.table.find(key)
        if not known.is_used or known.offset < 0:
            return False
        if varies and not is_current(
            self.keys, self.table, self.pool, job, others, varies, known.offset
        ):
            return False
        status = known.status
        if status == SUCCESS and known.payload_kind == NOTHING:
            outcome = None
        else:
            ended, outcome = self.callbacks.load(status, known.payload_kind, known.offset)
            if not ended:
                return False
        # No Python code runs between these lines, so that no rank gets the job.
        number = dispatcher_submit(&engine.d, NULL, 0, NULL, 0, -1, TRACKED, NULL)
        self.pool.enter(job, number)
        self.enter_key(job, key, varies)
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

    def add_attempt(self, int64_t number, int status, bytes text not None):
        """Record an attempt of a job that has failed, and after which the job runs again."""
        cdef body_t body
        if not self.active or not 0 <= number < self.keys.n or not self.keys.jobs[number].has_key:
            return
        self.keys.jobs[number].attempts += 1
        self.prepare(&body, number, <uint8_t>status)
        body.kind = ATTEMPT
        body.payload_size = <uint64_t>len(text)
        self.append(&body, PyBytes_AS_STRING(text), None)

    def attempts_before(self, int64_t number):
        """Return how often a job ran before, over all runs."""
        return self.keys.jobs[number].attempts if 0 <= number < self.keys.n else 0

    def add_end(
        self, int64_t number, int status, int payload_kind, payload, buffers=(), bytes text=b""
    ):
        """Record the end of a job with a given payload; see `RecordBuffer.add`."""
        cdef body_t body
        self.prepare(&body, number, <uint8_t>status)
        self.limit_buffer()
        self.buffer.add(
            ENDED, status, payload_kind, self.keys.key_of(number), payload, buffers, text=text,
            attempts=body.attempts, time_ns=body.time_ns, run_ns=body.run_ns, rank=body.rank,
            name=body.name,
        )

    # ------------------------------------------------------------------ the ends of jobs

    cdef int prepare(self, body_t *body, int64_t number, uint8_t status) except -1:
        """Fill in what is known of a job."""
        cdef job_key_t *entry = self.keys.jobs + number
        cdef job_times_t *times
        cdef timespec now
        clock_gettime(CLOCK_REALTIME, &now)
        memset(body, 0, sizeof(body_t))
        body.kind, body.status = ENDED, status
        body.attempts = entry.attempts
        memcpy(body.key, entry.key, 16)
        body.time_ns = <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec
        body.rank = -1
        if self.pool.times != NULL:
            times = times_of(self.pool.times, number)
            if times != NULL and times.attempts:
                body.run_ns, body.rank = times.run_ns, times.rank
        body.name = self.name_of(self.pool.job_list[number])
        return 0

    cdef uint32_t name_of(self, Handle job) except? 0:
        """Return the number of the name of the function of a job."""
        f = type(job) if job.f is None else job.f
        if f is self.last_function:
            return self.last_name
        known = self.names.get(id(f))
        if known is None or known[0] is not f:
            if len(self.names) >= MAX_NAMES:
                self.names.clear()
            known = f, self.callbacks.number_of_name(f)
            self.names[id(f)] = known
        self.last_function, self.last_name = known
        return self.last_name

    cdef int end(self, Handle job, uint8_t status) except -1:
        """Record the end of a job."""
        cdef body_t body
        cdef job_key_t *entry
        cdef uint8_t[MAX_SCALARS] scalars
        cdef int size
        cdef int64_t number = job.number
        if not 0 <= number < self.keys.n:
            return 0
        entry = self.keys.jobs + number
        if not entry.has_key or entry.is_silent:
            return 0
        if status == CANCELLED and self.pool.engine.d.jobs[number].flags & RUN_ENDED:
            return 0  # the job did not begin, so there is nothing to know about it
        if status == SUCCESS or status == FAILED:
            entry.attempts += 1
        self.n_recorded += 1
        outcome = job.outcome
        if status == FAILED:
            self.callbacks.record_failure(job)
            return 0
        if status == SUCCESS and outcome is not None:
            if isinstance(outcome, PickledResult):
                payload = (<PickledResult>outcome).payload
                is_small = PyBytes_CheckExact(payload) and PyBytes_GET_SIZE(payload) <= LARGE
                if not is_small or (<PickledResult>outcome).buffers:
                    self.callbacks.record_result(job, outcome)
                    return 0
                self.prepare(&body, number, status)
                body.payload_kind = PICKLE
                body.payload_size = <uint64_t>PyBytes_GET_SIZE(payload)
                return self.append(&body, PyBytes_AS_STRING(payload), None)
            size = scalars_dump(outcome, scalars)
            if size == 0:
                self.callbacks.record_result(job, outcome)
                return 0
            self.prepare(&body, number, status)
            body.payload_kind = PICKLE
            body.payload_size = size
            return self.append(&body, scalars, None)
        self.prepare(&body, number, status)
        return self.append(&body, b"", None)

    cdef int append(self, body_t *body, const void *payload, bytes text) except -1:
        self.limit_buffer()
        return self.buffer.append(body, payload, NULL, (), text)

    cdef int limit_buffer(self) except -1:
        """Wait for the writer if it is too slow."""
        if self.buffer.size > self.limit:
            self.callbacks.wait_for_writer()
        return 0


cdef int record_end(object target, object job, uint8_t status) except -1:
    """Record the end of a job; None instead of the job ends a group."""
    cdef JobJournal journal = <JobJournal>target
    if job is None:
        if journal.every_group:
            journal.callbacks.group_ended()
    elif journal.active:
        journal.end(job, status)
    return 0


cdef object queue_recorded(object target, object f, tuple args, object kwargs, object deps):
    """Queue a call without options; None if the pool must queue it with `put`."""
    cdef JobJournal journal = <JobJournal>target
    cdef Submitter pool = journal.pool
    cdef Handle job
    cdef uint8_t[32] key
    cdef ints_t ids = ints_t(NULL, 0, 0)
    cdef int32_t number
    cdef int32_t join = -1
    cdef int32_t cache_set = -1
    cdef uint8_t varies
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
        try:
            if journal.resume(job, key, (), varies):
                return job
            if job.has_inputs and pool.notify != NULL:
                cache_set = with_input_items(pool, &pool.engine.d, job, cache_set)
        except BaseException:
            if job.number < 0:
                journal.keys.forget(key)
            raise
        number = dispatcher_submit(
            &pool.engine.d, ids.data, ids.size, &join, join >= 0, cache_set, TRACKED, NULL,
        )
    finally:
        ints_free(&ids)
    pool.enter(job, number)
    journal.enter_key(job, key, varies)
    return job
