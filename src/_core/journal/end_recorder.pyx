"""Recording the ends of jobs: what happens in a pool with a journal for each job that has ended.

The change log of the pool calls `record_end` for each job that has ended, in groups. It appends a
record to the buffer of the writer. Python code does what few jobs need, see `JournalCallbacks`.
"""
from bsbpool._core.jobs.handle cimport Handle, PickledResult
from bsbpool._core.jobs.submission cimport GROUP_BEGINS, Submitter
from bsbpool._core.jobs.times cimport job_times_t, times_of
from bsbpool._core.journal.keys cimport JobKeys, job_key_t
from bsbpool._core.journal.layout cimport ATTEMPT, ENDED, PICKLE, body_t
from bsbpool._core.journal.records cimport RecordBuffer
from bsbpool._core.protocol.scalar_codec cimport MAX_SCALARS, scalars_dump
from bsbpool._core.scheduling.dispatcher_tables cimport RUN_ENDED
from bsbpool._core.scheduling.status cimport CANCELLED, FAILED, SUCCESS
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

cdef enum:
    LARGE = 16 * 1024  # bytes of a result from which Python code stores it
    MAX_NAMES = 4096


cdef class EndRecorder:
    """Records the ends of the jobs of a pool.

    Parameters
    ----------
    pool : Submitter
        The pool.
    keys : JobKeys
        Has the keys of the jobs.
    buffer : RecordBuffer
        Gets the records.
    callbacks : JournalCallbacks
        Do the rare work.
    limit : int
        Bytes of records that may wait for the writer.
    every_group : bool
        Whether to call `group_ended` after each group of jobs that ended.

    Attributes
    ----------
    active : bool
        Whether records are appended.
    every_group : bool
        As above.
    n_recorded : int
        Jobs that ended in this run.
    """

    def __init__(
        self, Submitter pool not None, JobKeys keys not None, RecordBuffer buffer not None,
        callbacks, int64_t limit, bint every_group,
    ):
        self.pool, self.keys = pool, keys
        self.buffer, self.callbacks = buffer, callbacks
        self.limit, self.every_group = limit, every_group
        self.names = {}
        self.active = True

    def add_attempt(self, int64_t number, int status, bytes text not None):
        """Record an attempt of a job that has failed, and after which the job runs again."""
        cdef body_t body
        if not self.active or not 0 <= number < self.keys.n or not self.keys.jobs[number].has_key:
            return
        self.keys.jobs[number].attempts += 1
        self.prepare(&body, number, <uint8_t>status, now_ns())
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
        self.prepare(&body, number, <uint8_t>status, now_ns())
        self.limit_buffer()
        self.buffer.add(
            ENDED, status, payload_kind, self.keys.key_of(number), payload, buffers, text=text,
            attempts=body.attempts, time_ns=body.time_ns, run_ns=body.run_ns, rank=body.rank,
            name=body.name,
        )

    cdef int prepare(
        self, body_t *body, int64_t number, uint8_t status, int64_t time_ns
    ) except -1:
        """Fill in what is known of a job."""
        cdef job_key_t *entry = self.keys.jobs + number
        cdef job_times_t *times
        memset(body, 0, sizeof(body_t))
        body.kind, body.status = ENDED, status
        body.attempts = entry.attempts
        memcpy(body.key, entry.key, 16)
        body.time_ns = time_ns
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
                self.prepare(&body, number, status, self.group_ns)
                body.payload_kind = PICKLE
                body.payload_size = <uint64_t>PyBytes_GET_SIZE(payload)
                return self.append(&body, PyBytes_AS_STRING(payload), None)
            size = scalars_dump(outcome, scalars)
            if size == 0:
                self.callbacks.record_result(job, outcome)
                return 0
            self.prepare(&body, number, status, self.group_ns)
            body.payload_kind = PICKLE
            body.payload_size = size
            return self.append(&body, scalars, None)
        self.prepare(&body, number, status, self.group_ns)
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
    """Record the end of a job; None in place of a job begins or ends a group, see `record_end_t`.

    The jobs of a group have ended at about the same time, so the clock is read once.
    """
    cdef EndRecorder recorder = <EndRecorder>target
    if job is not None:
        if recorder.active:
            recorder.end(job, status)
    elif status == GROUP_BEGINS:
        recorder.group_ns = now_ns()
    elif recorder.every_group:
        recorder.callbacks.group_ended()
    return 0


cdef int64_t now_ns() noexcept:
    """Return the time in ns since 1970."""
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec
