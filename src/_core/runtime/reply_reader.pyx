"""Reading the replies of workers: a job's outcome is stored, then its status changes."""
from bsbpool._core.jobs.handle cimport Handle, PickledResult
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.scalar_codec cimport scalars_load
from bsbpool._core.protocol.wire cimport NO_RESULT, OUTCOME_BITS, SCALARS
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport CANCELLED, FAILED, RUNNING, SUCCESS
from bsbpool._core.scheduling.worker_queues cimport queues_done
from libc.stdint cimport int32_t, uint8_t

import pickle

from bsbpool._core.protocol.frames import MalformedFrameError

cdef enum:
    SMALL_RESULT = 128  # bytes; a store may have to move larger ones out of memory
    MAX_CHECKED = 4096  # bytes of a pickle; to check a larger one would take too long
    NS_PER_KIB = 1_000  # a KiB of arguments counts as this much run time

# The status of a job after its reply, by the outcome bits (`wire.ReplyFlag`). The value 3 is not in
# use; its entry is a status that no reply can give, and `read` rejects it.
cdef uint8_t[4] OUTCOMES = [FAILED, SUCCESS, CANCELLED, RUNNING]


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
    """

    def __init__(
        self, Engine engine not None, callbacks, Submitter jobs, FrameReader reader not None
    ):
        self.engine = engine
        self.callbacks = callbacks
        self.jobs = jobs
        self.reader = reader

    cdef bint read(self, int worker, bint direct) except -1:
        """Read the reply of a worker; return whether the callbacks stored something."""
        cdef FrameReader r = self.reader
        cdef uint8_t outcome = OUTCOMES[r.record.flags & OUTCOME_BITS]
        cdef bint called_back = False
        cdef int code
        self.engine.check_job(r.record.id)
        if outcome == RUNNING:
            raise MalformedFrameError(f"A message gives an unknown outcome of job {r.record.id}")
        if outcome == SUCCESS and self.jobs is not None:
            if not self.store():
                outcome = FAILED
                called_back = True
        else:
            self.callbacks.store_reply(
                r.record.id, r.record.flags & 0x7F, r.payload(), r.buffers(),
                r.record.extra * 1e-9,
            )
            called_back = True
        if self.jobs is not None and not direct:
            self.callbacks.job_ended(r.record.id, r.record.extra * 1e-9)
        # Large arguments count as run time, so that few jobs that have them wait at a worker.
        code = queues_done(
            &self.engine.d, worker, <int32_t>r.record.id, outcome,
            <double>r.record.extra + <double>r.record.aux * NS_PER_KIB,
        )
        if code < 0:
            self.engine.raise_fault()
        return called_back

    cdef bint store(self) except -1:
        """Store a result, as a pickle unless it is scalar; False when it cannot be unpickled."""
        cdef FrameReader r = self.reader
        cdef Handle job = self.jobs.job_list[r.record.id]
        if job.number < 0:
            return True  # the job was cancelled and dropped meanwhile
        if r.record.flags & NO_RESULT:
            job.outcome = None
        elif r.record.flags & SCALARS and (
            r.record.size <= SMALL_RESULT or self.jobs.store is None
        ):
            job.outcome = scalars_load(r.inline_payload, <Py_ssize_t>r.record.size)
        else:
            return self.store_pickle(job, r.payload(), r.buffers())
        return True

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
                value = pickle.loads(payload, buffers=buffers)
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
