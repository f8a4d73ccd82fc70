"""Jobs of one process that are pickled as for another rank."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from bsbpool.dataflow import sending
from bsbpool.execution.functions import EXECUTE, FunctionTable, callee_of
from bsbpool.function_job import FunctionJob
from bsbpool.jobs import Job
from bsbpool.naming import explain
from bsbpool.process import is_from_signal, running_here
from bsbpool.remote_errors import dump_error, load_error
from bsbpool.serialization import copies_of, dumps, loads


class StrictCalls:
    """Calls jobs with copies of their functions and arguments; results and errors are copies, too.

    A function without state that can change is pickled once, as for a worker, which keeps it.

    Parameters
    ----------
    owner : object
        The first argument of the functions; it is not copied.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._functions = FunctionTable()
        self._loaded: dict[int, Any] = {}

    def call(self, job: Job[Any]) -> Any:
        """Call a job and return a copy of its result.

        Raises
        ------
        BaseException
            The error of the job, as it would arrive from a worker; or of pickling.
        """
        running_job = running_here()
        assert running_job is not None
        running_job.mask()  # interrupts are raised in the function only
        function, mode, (args, kwargs) = self._copies(job)
        try:
            if mode == EXECUTE:
                value = running_job.call(function.execute, self._owner, args, kwargs)
            else:
                call = FunctionJob.execute, self._owner, (function, args), kwargs
                value = running_job.call(*call)
        except BaseException as error:
            if is_from_signal(error) or isinstance(error, KeyboardInterrupt):
                raise
            failed = dump_error(error, 0, job.label)
        else:
            return self._result(job, value)
        raise load_error(failed[0], copies_of(failed[1]))

    def _copies(self, job: Job[Any]) -> tuple[Any, int, Any]:
        try:
            callee, mode, arguments = callee_of(job)
            number = self._functions.number_of(callee, mode)
            if number not in self._loaded:
                _, payload, buffers = self._functions.parcel(number)
                self._loaded[number] = loads(payload, copies_of(buffers))
            with sending(job.required_jobs) if job.has_inputs else nullcontext():
                payload, buffers = dumps(arguments)
        except BaseException as error:
            explain(error, f"The function or the arguments of {job.label} cannot be pickled")
            raise
        for evicted in self._functions.take_evicted():
            self._loaded.pop(evicted, None)
        return self._loaded[number], mode, loads(payload, copies_of(buffers))

    def _result(self, job: Job[Any], value: Any) -> Any:
        try:
            payload, buffers = dumps(value)
        except BaseException as error:
            explain(error, f"The return value of {job.label} cannot be pickled")
            raise
        return loads(payload, copies_of(buffers))
