"""Running a pool's jobs in this process, one after the other.

The *host* does what is rarely needed. Its methods:

``notify()``
    Tell what happened; called when a change was recorded or a job failed.
``perform(job)``
    Run a job and end it; when `paced` says so.
``failed(job, error)``
    End a job that raised.
``swept()``
    After a job of a pool that uses the cache: free what is not needed any more.
``check()``
    Between jobs of a limited run: raise when its time is up.
``paced() -> bool``
    Whether it is the host who runs the jobs; asked while somebody listens.
"""
from bsbpool._core.jobs.invoke cimport CallDepth, call
from bsbpool._core.scheduling.dispatcher cimport dispatcher_finish, dispatcher_start_next
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.scheduling.status cimport FAILED, SUCCESS, status_is_terminal
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t

cdef enum:
    SIGNALS = 1024  # jobs between two looks for Ctrl-C, which jobs in C do not see


cdef class SerialLoop:
    """Takes ready jobs and runs them.

    Parameters
    ----------
    pool : Submitter
        Whose jobs.
    owner : object
        What jobs get as their first argument.
    call depth : CallDepth
        Counts the jobs that this process is inside of.
    news : sized
        Records that wait for listeners.
    host : object
        See the module's text.
    """

    cdef Submitter pool
    cdef object owner
    cdef CallDepth call_depth
    cdef object news
    cdef object host
    cdef bint by_host
    cdef int64_t failed  # how many jobs had failed when the host was told last

    def __init__(self, Submitter pool not None, owner, CallDepth call_depth not None, news, host):
        self.pool = pool
        self.owner = owner
        self.call_depth = call_depth
        self.news = news
        self.host = host
        self.by_host = False
        self.failed = 0

    def run(self, bint limited=False):
        """Run jobs until none is ready.

        Parameters
        ----------
        limited : bool
            Whether the host is to `check` between jobs that there is time for another.
        """
        cdef Engine engine = self.pool._engine
        cdef int32_t number
        cdef int jobs_a_look = 1 if limited else SIGNALS
        cdef int until_look = jobs_a_look
        while True:
            if engine.d.n_changes or self.failed != engine.d.counts[<int>FAILED] or self.news:
                self.failed = engine.d.counts[<int>FAILED]
                self.host.notify()
            number = dispatcher_start_next(&engine.d)
            if number < 0:
                engine.raise_fault()
                return
            if engine.d.track_all:
                self.host.notify()  # RUNNING, before the job makes everybody wait
                self.by_host = self.host.paced()
            self.perform(self.pool._job_queue[number])
            if engine.d.cache.n_sets:
                self.host.swept()
            until_look -= 1
            if until_look == 0:
                until_look = jobs_a_look
                PyErr_CheckSignals()
                if limited:
                    self.host.check()

    cdef int perform(self, Handle job) except -1:
        """Run one job."""
        if self.by_host:
            self.host.perform(job)
            return 0
        try:
            self.call_depth.inside_job += 1
            try:
                if job.calls_function:
                    job._outcome = call(job.f, self.owner, job.arguments, job.keywords)
                else:
                    job._outcome = job.execute(self.owner, job._args, job._kwargs)
            finally:
                self.call_depth.inside_job -= 1
        except KeyboardInterrupt:
            raise  # the user's, not the job's
        except BaseException as error:
            self.host.failed(job, error)
            return 0
        if self.pool._store is not None:
            try:
                job._outcome = self.pool._store.keep_value(job._outcome)
            except BaseException as error:
                self.host.failed(job, error)  # which raises what is not the job's
                return 0
        return self.succeed(job)

    cdef int succeed(self, Handle job) except -1:
        cdef Engine engine = self.pool._engine
        cdef int code = 0
        # Somebody may have cancelled it meanwhile.
        if not status_is_terminal(engine.d.jobs[job.number].status):
            code = dispatcher_finish(&engine.d, job.number, SUCCESS)
        if code < 0:
            engine.raise_fault()
        return 0
