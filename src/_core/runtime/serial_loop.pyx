"""Running a pool's jobs in this process, one after the other.

Callbacks do the rare work, see `SerialCallbacks`.
"""
from bsbpool._core.comm.backoff cimport now_ns
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.input_items cimport resolved_arguments
from bsbpool._core.jobs.invoke cimport CallDepth, call
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.jobs.invoke cimport RunningJob
from bsbpool._core.jobs.times cimport times_ended
from bsbpool._core.scheduling.dispatcher cimport dispatcher_finish, dispatcher_start_next
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.status cimport FAILED, SUCCESS, status_is_terminal
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t

cdef enum:
    JOBS_PER_SIGNAL_CHECK = 1024  # a job that is written in C does not handle Ctrl-C itself


cdef class SerialLoop:
    """Takes ready jobs from the engine and runs them.

    Parameters
    ----------
    pool : Submitter
        The pool with the jobs.
    owner : object
        The first argument of each job's function.
    call_depth : CallDepth
        Counts the jobs that this process is running, one inside the other.
    events : sized
        Events that have not been delivered to listeners yet.
    callbacks : SerialCallbacks
        Do the rare work.

    Attributes
    ----------
    indirect : bool
        Whether a callback calls all jobs.
    running_job : RunningJob
        The job that the loop runs.
    """

    cdef Submitter pool
    cdef object owner
    cdef CallDepth call_depth
    cdef object events
    cdef object gather
    cdef object due
    cdef object callbacks
    cdef readonly RunningJob running_job
    cdef bint uses_job_thread
    cdef bint must_check
    cdef public bint indirect
    cdef int64_t delivered_failures  # how many jobs had failed when events were last delivered

    def __init__(
        self, Submitter pool not None, owner, CallDepth call_depth not None, events, callbacks
    ):
        self.pool = pool
        self.owner = owner
        self.call_depth = call_depth
        self.events = events
        self.callbacks = callbacks
        self.running_job = RunningJob()
        self.uses_job_thread = False
        self.delivered_failures = 0

    def run(self, bint limited=False):
        """Run jobs until none is ready.

        Parameters
        ----------
        limited : bool
            Whether to call `check_time_limit` before each next job.
        """
        cdef Engine engine = self.pool.engine
        cdef int32_t number
        cdef int jobs_per_check = 1 if limited else JOBS_PER_SIGNAL_CHECK
        cdef int until_check = jobs_per_check
        while True:
            if (
                engine.d.n_changes
                or self.delivered_failures != engine.d.counts[<int>FAILED]
                or self.events
            ):
                self.deliver()
            number = dispatcher_start_next(&engine.d)
            if number < 0:
                engine.raise_fault()
                return
            if engine.d.track_all:
                self.callbacks.deliver_events()  # listeners see RUNNING before the job blocks
                self.uses_job_thread = self.callbacks.uses_job_thread()
                if status_is_terminal(engine.d.jobs[number].status):
                    continue  # a listener has cancelled it
            if self.pool.times == NULL:
                self.perform(self.pool.job_list[number])
            else:
                self.perform_timed(self.pool.job_list[number])
            if engine.d.cache.n_sets:
                self.callbacks.free_unneeded_items()
            until_check -= 1
            if until_check == 0 or self.must_check:
                until_check = jobs_per_check
                PyErr_CheckSignals()
                if limited or self.must_check:
                    self.must_check = False
                    self.callbacks.check_time_limit()

    cdef int deliver(self) except -1:
        """Deliver the events. Those that only the journal of the pool needs cost no callback."""
        cdef int64_t failures = self.pool.engine.d.counts[<int>FAILED]
        if self.due is not None and self.delivered_failures == failures:
            self.gather()
            if not self.events and not self.due:
                return 0
        self.delivered_failures = failures
        self.callbacks.deliver_events()
        return 0

    def set_events(self, events):
        """Set the events of a pool with a journal, an `EventQueue`."""
        self.gather, self.due = events.gather, events.due

    def check_soon(self):
        """Call `check_time_limit` after the present job; from any thread."""
        self.must_check = True

    cdef int perform_timed(self, Handle job) except -1:
        """Run one job and note when."""
        cdef int64_t start = now_ns()
        cdef int64_t end
        cdef int32_t number = job.number
        self.perform(job)
        end = now_ns()
        if times_ended(self.pool.times, number, 0, start, end - start, end, 0) < 0:
            raise MemoryError()
        return 0

    cdef int perform(self, Handle job) except -1:
        """Run one job and end it."""
        if self.uses_job_thread:
            self.callbacks.perform(job)
            return 0
        try:
            self.call_depth.inside_job += 1
            self.running_job.begin(job.number)
            try:
                if self.indirect:
                    job.outcome = self.callbacks.call_job(job)
                elif job.has_inputs:
                    args = resolved_arguments(job) if job.calls_function else None
                    if args is None:
                        job.outcome = self.callbacks.call_job(job)
                    else:
                        job.outcome = call(job.f, self.owner, args, job.keywords, 0)
                elif job.calls_function:
                    job.outcome = call(job.f, self.owner, job.arguments, job.keywords, 0)
                elif job.options is not None:
                    job.outcome = self.callbacks.call_job(job)
                else:
                    args, kwargs = job.execute_arguments
                    job.outcome = job.execute(self.owner, args, kwargs)
            finally:
                self.running_job.end()
                self.call_depth.inside_job -= 1
        except KeyboardInterrupt:
            raise  # Ctrl-C ends the run, not just the job
        except BaseException as error:
            self.callbacks.job_failed(job, error)
            return 0
        if self.pool.store is not None:
            try:
                job.outcome = self.pool.store.keep_value(job.outcome)
            except BaseException as error:
                self.callbacks.job_failed(job, error)
                return 0
        return self.succeed(job)

    cdef int succeed(self, Handle job) except -1:
        cdef Engine engine = self.pool.engine
        cdef int code = 0
        # Another thread may have cancelled the job while it ran.
        if not status_is_terminal(engine.d.jobs[job.number].status):
            code = dispatcher_finish(&engine.d, job.number, SUCCESS)
        if code < 0:
            engine.raise_fault()
        return 0
