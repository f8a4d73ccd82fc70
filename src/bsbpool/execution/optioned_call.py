"""Jobs with options that matter where the job runs: on a worker, or in a serial run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from bsbpool import exceptions
from bsbpool._core.jobs.invoke import NO_OWNER, InterruptKind, RunningJob
from bsbpool.current import CurrentJob
from bsbpool.function_job import FunctionJob
from bsbpool.jobs import Job
from bsbpool.naming import name_of
from bsbpool.options import JobOptions
from bsbpool.process import running_here
from bsbpool.timers import timers

TIMEOUT = int(InterruptKind.TIMEOUT_INTERRUPT)


class WorkerOptions(NamedTuple):
    """The options of a job that its worker needs."""

    name: str
    label: str
    attempt: int
    timeout: float | None
    capture_output: bool
    seed: int | None
    stream: int
    resources: Mapping[str, Any]
    requires: tuple[Callable[[], object], ...]
    gather: bool


class OptionedCall:
    """Runs a job with options. Workers execute this class in place of the function of the job."""

    is_optioned_call = True

    @staticmethod
    def execute(owner: Any, args: tuple[Any, Any, WorkerOptions], kwargs: Any) -> Any:
        """Run a job.

        Parameters
        ----------
        owner : object
            The owner of the pool on this rank.
        args : tuple
            The class of the job, the positional arguments of its `execute`, and the options.
        kwargs : mapping
            The keyword arguments of its `execute`.

        Raises
        ------
        JobTimeoutError
            When the job took too long, also if it has returned a value nevertheless.
        BaseException
            The error of the job.
        """
        job_class, job_args, options = args
        running = running_here()
        assert running is not None
        running.mask()  # interrupts are raised in the function of the job only
        current = _current(running, options)
        running.details = current
        with _capture(options, current), _TimeLimit(running, options):
            for check in options.requires:
                running.call(check)
            if current.gang is not None:
                from bsbpool.execution.gang_members import call_together

                call = partial(job_class.execute, owner, job_args, kwargs)
                return call_together(running, current.gang, options.gather, call)
            value = running.call(job_class.execute, owner, job_args, kwargs)
            return [value] if options.gather else value


def optioned_call(job: Job[Any]) -> tuple[Any, Any]:
    """Return the arguments of `OptionedCall.execute` for a job, after the owner."""
    args, kwargs = job.execute_arguments
    return (_class_of(job), args, worker_options(job)), kwargs


def call_optioned(job: Job[Any], owner: Any, args: Any, kwargs: Any) -> Any:
    """Call a job in this process; `args` and `kwargs` are those of its `execute`."""
    return OptionedCall.execute(owner, (type(job), args, worker_options(job)), kwargs)


def call_with_options(f: Any, args: Any, kwargs: Any, options: WorkerOptions) -> Any:
    """Call a function as a job with options; a function that executors of scripts send."""
    return OptionedCall.execute(NO_OWNER, (FunctionJob, (f, args), options), kwargs)


def worker_options(job: Job[Any]) -> WorkerOptions:
    """Return the options that `OptionedCall` needs."""
    options = job.options
    assert isinstance(options, JobOptions)
    return WorkerOptions(
        name=_name_of(job, options),
        label=job.label,
        attempt=len(job.attempts) + 1,
        timeout=options.timeout,
        capture_output=options.capture_output,
        seed=options.seed,
        stream=_stream_of(job, options),
        resources=job.held_resources if options.resources else {},
        requires=options.requires,
        gather=options.gather,
    )


def _stream_of(job: Job[Any], options: JobOptions) -> int:
    """Return the number of the stream of random numbers.

    With a journal it is the job's key: in another run the job can have another number.
    """
    journal = None if options.seed is None else job.journal
    return job.random_stream if journal is None else journal.stream_of(job)


def _class_of(job: Job[Any]) -> type[Job[Any]]:
    """Return the class whose `execute` workers call; they need not know that of function jobs."""
    return FunctionJob if type(job).execute is FunctionJob.execute else type(job)


def _name_of(job: Job[Any], options: JobOptions) -> str:
    if options.name is not None:
        return options.name
    is_call = _class_of(job) is FunctionJob
    return name_of(job.execute_arguments[0][0] if is_call else type(job))


def _current(running: RunningJob, options: WorkerOptions) -> CurrentJob:
    assert running.describe is not None
    current: CurrentJob = running.describe(running.number)
    current.name, current.label, current.attempt = options.name, options.label, options.attempt
    current.resources, current.seed = options.resources, options.seed
    current.stream = options.stream
    return current


def _capture(options: WorkerOptions, current: CurrentJob) -> AbstractContextManager[Any]:
    if not options.capture_output:
        return nullcontext()
    from bsbpool.execution.capture import capturing

    assert current.send_output is not None
    return capturing(partial(current.send_output, current.number))


class _TimeLimit:
    """Interrupts a job when its time is over, and raises the error of that."""

    def __init__(self, running: RunningJob, options: WorkerOptions) -> None:
        self._running = running
        self._number = running.number
        self._timeout = options.timeout
        self._message = timeout_message(options.label, options.timeout)
        self._timer = -1
        self._ended = False

    def __enter__(self) -> None:
        if self._timeout is not None:
            self._timer = timers.call_at(time.monotonic() + self._timeout, self._interrupt)

    def _interrupt(self) -> None:
        if not self._ended:  # the next attempt has the same number
            self._running.interrupt(self._number, TIMEOUT, self._message.encode())

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._timeout is None:
            return
        self._ended = True
        timers.cancel(self._timer)
        if self._running.interrupted(self._number) != TIMEOUT:
            return
        if error is None:
            raise exceptions.JobTimeoutError(self._message)
        if type(error) is exceptions.JobTimeoutError:
            # Outside of the main thread the interpreter has made it, without a message.
            error.args = error.args or (self._message,)
        elif isinstance(error, Exception):
            raise exceptions.JobTimeoutError(self._message) from error


def timeout_message(label: str, timeout: float | None) -> str:
    """Return the message of the error of a job that took too long."""
    return f"{label} took longer than its timeout of {timeout:g} s" if timeout is not None else ""
