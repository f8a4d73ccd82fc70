"""The run of a script's pool on the main rank, which also sends the script's globals.

Each call is bound to the globals as they are when it is submitted. Before the function of a call,
workers are sent the units of its snapshot, each unit once.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import Any, Protocol

from bsbpool._core.comm.channel import Channel
from bsbpool.execution.functions import FunctionTable
from bsbpool.execution.optioned_call import call_with_options, worker_options
from bsbpool.futures.codes import PRELUDE_NUMBER, SCRIPT_CALL, UNIT
from bsbpool.futures.main import ExecutorMainRun, RunBackend
from bsbpool.naming import explain
from bsbpool.run_context import RunContext
from bsbpool.script.calls import ScriptCall, Snapshot, Unit
from bsbpool.script.tracking import script_globals
from bsbpool.serialization import Parcel


class ScriptRunBackend(RunBackend, Protocol):
    """The part of a script's backend that the runs of its pools use."""

    initializer_snapshot: Snapshot | None


class ScriptMainRun(ExecutorMainRun):
    """The run of a script's pool on the main rank. Parameters as of `ExecutorMainRun`."""

    _backend: ScriptRunBackend

    def __init__(self, context: RunContext, channel: Channel, backend: ScriptRunBackend) -> None:
        super().__init__(context, channel, backend)
        self._table = ScriptTable(self._functions)

    def encode_job(
        self, number: int, worker: int
    ) -> tuple[int, int, bytes, list[memoryview]] | None:
        """Pickle a job. Every exception is the job's error, since no signal raises here."""
        job = self._context.jobs[number]
        call, args, kwargs = _call_of(job)
        if not isinstance(call, ScriptCall):
            return super().encode_job(number, worker)
        self._renew_prelude_if_old()
        try:
            def dumps() -> Parcel:
                return call.snapshot.dumps((args, kwargs))

            payload, buffers = self._data.pickled(job, worker, dumps)
            return self._table.number_of(call), 0, payload, buffers
        except BaseException as error:
            explain(error, f"The function or the arguments of {job.label} cannot be pickled")
            self._context.events.job_failed(job, error)
            return None

    def _renew_prelude(self) -> None:
        super()._renew_prelude()
        self._table.clear()

    def function_number(self, f: Any) -> int:
        """Return the number of a function that workers keep, -1 for any other."""
        if not isinstance(f, ScriptCall):
            return super().function_number(f)
        # The outbox keeps a reference to the last numbered function, with all its globals.
        return -1 if f.fresh else self._table.number_of(f)

    def required_functions(self, number: int) -> Collection[int]:
        """Return the numbers of the units that a function uses."""
        if number != PRELUDE_NUMBER:
            return self._table.required(number)
        snapshot = self._backend.initializer_snapshot
        return [self._table.number_of(unit) for unit in snapshot.units] if snapshot else ()


def _call_of(job: Any) -> tuple[Any, Any, Any]:
    """Return the function of a job and its arguments; workers call it with the job's options."""
    call = job.function_call
    if call is not None:
        return call  # type: ignore[no-any-return]
    (function, args), kwargs = job.execute_arguments
    if not isinstance(function, ScriptCall):
        return None, (), {}
    script = script_globals()
    indirect = script.call(script.callee(call_with_options), function.snapshot)
    return indirect, (function.f, args, kwargs, worker_options(job)), {}


class ScriptTable:
    """Assigns function numbers to the functions and the units of script calls.

    A number is dropped when no call uses it any more.

    Parameters
    ----------
    functions : FunctionTable
        The functions of the run.
    """

    def __init__(self, functions: FunctionTable) -> None:
        self._functions = functions
        self._numbers: dict[int, tuple[int, weakref.ref[ScriptCall | Unit]]] = {}
        self._required: dict[int, list[int]] = {}

    def number_of(self, obj: ScriptCall | Unit) -> int:
        """Return the number of a call's function or of a unit."""
        key = id(obj)
        if key in self._numbers:
            return self._numbers[key][0]
        mode = UNIT if isinstance(obj, Unit) else SCRIPT_CALL
        number = self._functions.add(mode, obj.parcel())

        def drop(_: Any) -> None:
            self._numbers.pop(key, None)  # another thread may have called `clear`
            self._required.pop(number, None)
            self._functions.drop(number)

        self._numbers[key] = number, weakref.ref(obj, drop)
        if isinstance(obj, ScriptCall):
            self._required[number] = [self.number_of(unit) for unit in obj.snapshot.units]
        return number

    def required(self, number: int) -> Collection[int]:
        """Return the numbers of the units that a call's function uses."""
        return self._required.get(number, ())

    def clear(self) -> None:
        """Forget all numbers, because the run has dropped its functions."""
        self._numbers.clear()
        self._required.clear()
