"""Reading the replies of workers: a job's outcome is stored, then its status changes."""
from bsbpool._core.jobs.handle cimport NO_VALUE, Handle, PickledResult, RemoteResult, StoredResult
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.scalar_codec cimport (
    scalars_are_mutable,
    scalars_are_readable,
    scalars_load,
)
from bsbpool._core.jobs.times cimport times_ended
from bsbpool._core.protocol.wire cimport (
    KEPT,
    NO_RESULT,
    OUTCOME_BITS,
    SCALARS,
    STAYED,
    timing_after_ns,
    timing_run_ns,
)
from bsbpool._core.runtime.data_directory cimport DataDirectory
from bsbpool._core.scheduling.data_items cimport IS_KEPT, STAYS_THERE
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport CANCELLED, FAILED, RUNNING, SUCCESS, status_is_terminal
from bsbpool._core.scheduling.worker_queues cimport queues_done, queues_retry
from bsbpool._core.scheduling.workers cimport ns_per_kib, worker_t
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free

cimport cython

import pickle

from bsbpool._core.protocol.frames import MalformedFrameError

cdef enum:
    SMALL_RESULT = 128  # bytes; a store may have to move larger ones out of memory
    MAX_CHECKED = 4096  # bytes of a pickle; to check a larger one would take too long

# The status of a job after its reply, by the outcome bits (`wire.ReplyFlag`). The value 3 is not in
# use; its entry is a status that no reply can give, and `read` rejects it.
cdef uint8_t[4] OUTCOMES = [FAILED, SUCCESS, CANCELLED, RUNNING]


cdef inline const uint8_t *as_data(bytes payload) noexcept:
    return <const uint8_t *>PyBytes_AS_STRING(payload)


@cython.final
@cython.no_gc  # it refers to bytes only, and there may be very many of these
cdef class SmallResult(StoredResult):
    """A result that `scalar_codec` has written, in memory."""

    cdef bytes payload

    def __cinit__(self, bytes payload not None):
        self.payload = payload

    def load(self, bint copy):
        return self.payload, []

    cdef object value(self):
        try:
            return scalars_load(as_data(self.payload), PyBytes_GET_SIZE(self.payload))
        except Exception:
            return NO_VALUE  # then `load` raises the same error


cdef class ReplyReader:
    """Reads the DONE records of a frame reader.

    Parameters
    ----------
    engine : Engine
        The pool's tables.
    callbacks : LoopCallbacks
        Store errors.
    jobs : Submitter or None
        The pool. If given, results are stored in its jobs without a callback.
    reader : FrameReader
        The messages of workers.
    data : DataDirectory
        Learns which results the workers keep.

    Attributes
    ----------
    check_results : bool
        Whether small results are unpickled when they arrive, so that a job whose result cannot be
        unpickled here fails before its dependents run. The pickle is kept all the same.
    unpickle_results : bool
        Whether results are stored unpickled. Each must be read at most once then.
    """

    def __init__(
        self, Engine engine not None, callbacks, Submitter jobs, FrameReader reader not None,
        DataDirectory data not None,
    ):
        self.engine = engine
        self.callbacks = callbacks
        self.jobs = jobs
        self.reader = reader
        self.data = data

    def __dealloc__(self):
        free(self.clock_offsets)

    cdef int set_remote(self, bytes remote) except -1:
        """Estimate the clocks of workers on other nodes; `remote` has a 1 for each of these."""
        if not remote:
            return 0
        if len(remote) != self.engine.d.workers.n or self.clock_offsets != NULL:
            raise ValueError(
                f"remote must have {self.engine.d.workers.n} bytes, got {len(remote)}, and be set "
                "only once"
            )
        self.clock_offsets = <int64_t *>calloc(len(remote), sizeof(int64_t))
        if self.clock_offsets == NULL:
            raise MemoryError()
        self.remote = remote
        self.is_remote = as_data(remote)
        return 0

    cdef int64_t clock_offset(self, int worker) noexcept nogil:
        return 0 if self.clock_offsets == NULL else self.clock_offsets[worker]

    cdef list offsets(self):
        """Return the estimated differences of the workers' clocks from this rank's, in ns."""
        return [self.clock_offset(i) for i in range(self.engine.d.workers.n)]

    cdef void begin(self, int worker, int64_t now) noexcept nogil:
        """Begin to read a message of a worker that has arrived."""
        cdef worker_t *slot = &self.engine.d.workers.slots[worker]
        self.now = now
        self.ended = self.reader.cursor.header.time_ns
        if self.reader.cursor.header.peak_kib > slot.peak_kib:
            slot.peak_kib = self.reader.cursor.header.peak_kib
        if self.is_remote != NULL and self.clock_offsets[worker] == 0:
            self.end(worker)  # with the begin of the first job, as a first estimate

    cdef bint read(self, int worker, bint direct) except -1:
        """Read the reply of a worker; return whether the callbacks stored something."""
        cdef FrameReader r = self.reader
        cdef uint8_t outcome = OUTCOMES[r.record.flags & OUTCOME_BITS]
        cdef bint called_back = False
        cdef bint retries = False
        cdef double run_ns
        cdef int code
        self.engine.check_job(r.record.id)
        if outcome == RUNNING:
            raise MalformedFrameError(f"A message gives an unknown outcome of job {r.record.id}")
        if outcome == SUCCESS and self.jobs is not None:
            if not self.store():
                outcome = FAILED
                called_back = True
        else:
            retries = bool(self.callbacks.store_reply(
                r.record.id, r.record.flags & 0x7F, r.payload(), r.buffers(),
                timing_run_ns(r.record.extra) * 1e-9,
            ))
            called_back = True
        if r.record.flags & KEPT and outcome == SUCCESS:
            self.data.add_result(worker, r.record.id, self.is_used(r.record.id))
            self.engine.d.jobs[r.record.id].flags |= IS_KEPT
        if self.jobs is not None and not direct:
            self.callbacks.job_ended(r.record.id, timing_run_ns(r.record.extra) * 1e-9)
        if self.jobs is not None and self.jobs.times != NULL:
            self.note_times(worker, self.read_start())
        if outcome != CANCELLED:
            self.engine.d.workers.slots[worker].n_done += 1
            self.engine.d.workers.slots[worker].busy_ns += timing_run_ns(r.record.extra)
        # Large arguments count as run time, so that few jobs that have them wait at a worker.
        run_ns = <double>timing_run_ns(r.record.extra) + (
            <double>r.record.aux * ns_per_kib(&self.engine.d.workers)
        )
        if retries and outcome == FAILED:
            code = queues_retry(&self.engine.d, worker, <int32_t>r.record.id, run_ns)
        else:
            code = queues_done(&self.engine.d, worker, <int32_t>r.record.id, outcome, run_ns)
        if code < 0:
            self.engine.raise_fault()
        return called_back

    cdef int64_t read_start(self) noexcept nogil:
        """Return when the job of the record began; to be called for each reply, in order."""
        cdef uint64_t extra = self.reader.record.extra
        # Unsigned, so that numbers of a corrupt message cannot overflow.
        cdef uint64_t started = <uint64_t>self.ended + <uint64_t>timing_after_ns(extra)
        self.ended = <int64_t>(started + <uint64_t>timing_run_ns(extra))
        return <int64_t>started

    cdef int note_times(self, int worker, int64_t started) except -1:
        """Note when the job of the record ran, on this rank's clock."""
        cdef FrameReader r = self.reader
        cdef int64_t run = timing_run_ns(r.record.extra)
        started = <int64_t>(<uint64_t>started + <uint64_t>self.clock_offset(worker))
        if not 0 < started <= self.now - run:  # the offset is an estimate
            started = self.now - run
        if times_ended(
            self.jobs.times, r.record.id, worker + 1, started, run, self.now, r.payload_bytes()
        ) < 0:
            raise MemoryError()
        return 0

    cdef void end(self, int worker) noexcept nogil:
        """All records of a message were read."""
        if self.is_remote != NULL and self.is_remote[worker]:
            self.measure_clock(worker)

    cdef void measure_clock(self, int worker) noexcept nogil:
        """Estimate the clock of a worker on another node from a message of replies.

        The estimate is the smallest difference between when a message arrived and when the last job
        in it ended, so it is too large by the shortest time in which a reply arrived.
        """
        cdef int64_t difference = <int64_t>(<uint64_t>self.now - <uint64_t>self.ended)
        if self.ended <= 0:
            return
        if self.clock_offsets[worker] == 0 or difference < self.clock_offsets[worker]:
            self.clock_offsets[worker] = difference

    cdef bint store(self) except -1:
        """Store a result, as a pickle unless it is scalar; False when it cannot be unpickled."""
        cdef FrameReader r = self.reader
        cdef Handle job = self.jobs.job_list[r.record.id]
        if job.number < 0:
            return True  # the job was cancelled and dropped meanwhile
        if r.record.flags & NO_RESULT:
            job.outcome = None
        elif r.record.flags & SCALARS and scalars_are_mutable(
            r.inline_payload, <Py_ssize_t>r.record.size
        ):
            return self.store_scalars(job)
        elif r.record.flags & SCALARS and (
            r.record.size <= SMALL_RESULT or self.jobs.store is None
        ):
            job.outcome = scalars_load(r.inline_payload, <Py_ssize_t>r.record.size)
        elif r.record.flags & STAYED:
            job.outcome = RemoteResult(self.stayed_size())
        else:
            return self.store_pickle(job, r.payload(), r.buffers())
        return True

    cdef bint is_used(self, int64_t job) noexcept:
        """Whether a worker must keep the result of a job."""
        cdef int32_t item
        if status_is_terminal(self.engine.d.jobs[job].status):
            return False  # the job was cancelled while it was running
        if self.engine.d.jobs[job].flags & STAYS_THERE or self.jobs is None:
            return True
        item = (<Handle>self.jobs.job_list[job]).data_item
        return item >= 0 and self.engine.d.cache.items[item].ref_count > 0

    cdef int64_t stayed_size(self) except -1:
        """Return the size of a result that the worker keeps."""
        numbers = self.reader.numbers()
        if len(numbers) != 1 or numbers[0] > INT64_MAX:
            raise MalformedFrameError("A message has a wrong size of a result")
        return numbers[0]

    cdef bint store_scalars(self, Handle job) except -1:
        """Store a dict, list or array that the codec wrote; False when it cannot be unpickled."""
        cdef FrameReader r = self.reader
        cdef const uint8_t *data = r.inline_payload
        cdef Py_ssize_t size = <Py_ssize_t>r.record.size
        if (
            self.unpickle_results
            or self.jobs.store is not None
            or not scalars_are_readable(data, size)
        ):
            return self.store_pickle(job, r.payload(), r.buffers())
        job.outcome = SmallResult(PyBytes_FromStringAndSize(<const char *>data, size))
        return True

    cdef object load(self, payload, list buffers):
        if self.reader.record.flags & SCALARS and PyBytes_CheckExact(payload):
            return scalars_load(as_data(payload), PyBytes_GET_SIZE(payload))
        return pickle.loads(payload, buffers=buffers)

    cdef bint store_pickle(self, Handle job, payload, list buffers) except -1:
        """Store a pickled result; return False when it cannot be unpickled here."""
        # Results with buffers are not checked: the copy that the check unpickles could write into
        # them. Results without the opcode STACK_GLOBAL (0x93) are not checked either: they refer to
        # no class or function that could be missing here.
        if self.unpickle_results or (
            self.check_results
            and not buffers
            and len(payload) <= MAX_CHECKED
            and b"\x93" in payload
        ):
            try:
                value = self.load(payload, buffers)
            except BaseException as error:
                self.callbacks.result_unreadable(job.number, error)
                return False
            if self.unpickle_results:
                job.outcome = value
                return True
        if self.jobs.store is None:
            job.outcome = PickledResult(payload, buffers)
        else:
            job.outcome = self.jobs.store.keep(payload, buffers)
        return True
