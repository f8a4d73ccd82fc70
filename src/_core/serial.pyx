"""Running a pool's jobs in this process, one after the other.

The *host* does what is rarely needed. Its methods:

``notify()``
    Tell what happened; called when a change was recorded or a job failed.
``perform(job)``
    Run a job and end it, while `by_host` is set.
``failed(job, error)``
    End a job that raised.
``swept()``
    After a job, while `sweeps` is set: free what is not needed any more.
"""
from bsbpool._core.calling cimport Nesting, call
from bsbpool._core.dispatcher cimport dispatcher_finish, dispatcher_take
from bsbpool._core.engine cimport Engine
from bsbpool._core.handle cimport Handle
from bsbpool._core.intake cimport Intake
from bsbpool._core.status cimport SUCCESS, status_is_terminal
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t

cdef enum:
    SIGNALS = 1024  # jobs between two looks for Ctrl-C, which jobs in C do not see


cdef class SerialLoop:
    """Takes ready jobs and runs them.

    Parameters
    ----------
    pool : Intake
        Whose jobs.
    owner : object
        What jobs get as their first argument.
    nesting : Nesting
        Counts the jobs that this process is inside of.
    news : sized
        Records that wait for listeners.
    host : object
        See the module's text.

    Attributes
    ----------
    by_host : bool
        Whether the host runs the jobs.
    sweeps : bool
        Whether the host sweeps after each job.
    """

    cdef Intake pool
    cdef object owner
    cdef Nesting nesting
    cdef object news
    cdef object host
    cdef public bint by_host
    cdef public bint sweeps

    def __init__(self, Intake pool not None, owner, Nesting nesting not None, news, host):
        self.pool = pool
        self.owner = owner
        self.nesting = nesting
        self.news = news
        self.host = host
        self.by_host = self.sweeps = False

    def run(self):
        """Run jobs until none is ready."""
        cdef Engine engine = self.pool._engine
        cdef int32_t number
        cdef int until_signals = SIGNALS
        cdef bint well = True
        while True:
            if engine.d.n_changes or not well or self.news:
                self.host.notify()
            engine.lock()
            number = dispatcher_take(&engine.d)
            engine.unlock()
            if number < 0:
                engine.raise_fault()
                return
            if engine.d.watch_all:
                self.host.notify()  # RUNNING, before the job makes everybody wait
            well = self.perform(self.pool._job_queue[number])
            if self.sweeps:
                self.host.swept()
            until_signals -= 1
            if until_signals == 0:
                until_signals = SIGNALS
                PyErr_CheckSignals()

    cdef bint perform(self, Handle job) except -1:
        """Run one job; False when it did not end well."""
        if self.by_host:
            self.host.perform(job)
            return False
        try:
            self.nesting.inside_job += 1
            try:
                if job.calls:
                    job._outcome = call(job.f, self.owner, job.arguments, job.keywords)
                else:
                    job._outcome = job.execute(self.owner, job._args, job._kwargs)
            finally:
                self.nesting.inside_job -= 1
        except KeyboardInterrupt:
            raise  # the user's, not the job's
        except BaseException as error:
            self.host.failed(job, error)
            return False
        return self.succeed(job)

    cdef bint succeed(self, Handle job) except -1:
        cdef Engine engine = self.pool._engine
        cdef int code = 0
        engine.lock()
        # Somebody may have cancelled it meanwhile.
        if not status_is_terminal(engine.d.jobs[job.number].status):
            code = dispatcher_finish(&engine.d, job.number, SUCCESS)
        engine.unlock()
        if code < 0:
            engine.raise_fault()
        return True
