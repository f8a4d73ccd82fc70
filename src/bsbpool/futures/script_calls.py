"""The backend of a script that runs on this rank alone: its calls see the script's globals.

Each call is bound to the globals as they are when it is submitted. Workers are sent the units of
a call's snapshot before the function, each of them once.
"""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Callable, Collection
from typing import Any

from bsbpool.execution.functions import FunctionTable
from bsbpool.futures.backend import Call
from bsbpool.futures.backend_ranks import PREPARATION, ExecutorRun
from bsbpool.futures.chunks import Packing, packed, run_chunk
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.pools import ExecutorPool
from bsbpool.futures.preparing import Preparation
from bsbpool.futures.runner import RunnerBackend
from bsbpool.futures.serving import SCRIPT_CALL, UNIT
from bsbpool.naming import explain
from bsbpool.script.calls import ScriptCall, Snapshot, Unit
from bsbpool.script.namespace import namespace
from bsbpool.script.tracking import script_globals
from bsbpool.serialization import Parcel, dumps, out_of_band


class ScriptBackend(RunnerBackend):
    """Runs calls of a script on ranks that do not run it. Parameters as of `RunnerBackend`.

    Attributes
    ----------
    initial : Snapshot or None
        The globals for the initializer.
    """

    initial: Snapshot | None = None

    @property
    def _run_kind(self) -> type[ExecutorRun]:
        return ScriptRun

    def _packed(
        self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]
    ) -> Parcel | None:
        if initializer is None:
            return None
        preparation = ScriptPreparation(initializer, initargs)
        self.initial = preparation.snapshot
        return dumps(preparation)

    def submit(
        self, future: PoolFuture, f: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> None:
        """Take a call without options."""
        f = script_globals().bind(f, args, kwargs)
        super().submit(future, f, args, kwargs)

    def queue(self, call: Call, stream: Any = None) -> None:
        """Take a call; one that is bound already when it belongs to a map."""
        if stream is None and not isinstance(call.f, ScriptCall):
            call = call._replace(f=script_globals().bind(call.f, call.args, call.kwargs))
        super().queue(call, stream)

    def packing(self, f: Callable[..., Any], items: list[Any]) -> Packing:
        """Return how a map of a function is pickled."""
        return ScriptPacking(f, items)


class ScriptPacking(Packing):
    """How a map is pickled whose calls see the globals as they were when it was called.

    Parameters
    ----------
    f : callable
        What is called with each item.
    items : list
        The items that have been read.
    """

    def __init__(self, f: Callable[..., Any], items: list[Any]) -> None:
        script = script_globals()
        self._bind(script.snapshot_for(f, items))
        payload, buffers = self._snapshot.dumps(f)
        kept = script.callee(f).kept
        self.function = payload, out_of_band(buffers), kept

    def _bind(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        script = script_globals()
        # Without any globals the function may be kept for further chunks.
        self.call = script.call(script.callee(run_chunk), snapshot) if snapshot.units else run_chunk

    def look_at(self, items: list[Any]) -> None:
        """Add the globals that items refer to which were read after the map was called."""
        script = script_globals()
        names = script.names_in(items)
        if not all(map(self._snapshot.has, names)):
            self._bind(self._snapshot.extended(script.snapshot(names)))

    def packed(self, item: Any) -> Any:
        """Return what travels for an item."""
        return packed(item, self._snapshot.dumps)


class ScriptPreparation(Preparation):
    """An initializer that sees the globals of the script.

    Parameters
    ----------
    initializer : callable
        What to call.
    initargs : tuple
        With what.
    """

    def _dumps(self, initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> Parcel:
        self.snapshot = script_globals().snapshot_for(initializer, initargs)
        self.numbers = [unit.number for unit in self.snapshot.units]
        return self.snapshot.dumps((initializer, initargs))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "snapshot"}

    def run(self) -> None:
        """Put the globals in place and call the initializer."""
        try:
            namespace.enter([namespace.units[number] for number in self.numbers])
            initializer, initargs = pickle.loads(self.function[0], buffers=self.function[1])
            initializer(*initargs)
        except BaseException as error:
            namespace.explain(error)
            raise


class ScriptRun(ExecutorRun):
    """The run of a pool of a `ScriptBackend`, on the rank that submits."""

    _backend: ScriptBackend

    def __init__(self, pool: ExecutorPool, channel: Any) -> None:
        super().__init__(pool, channel)
        self._table = ScriptTable(self._functions)

    def encode(self, number: int) -> tuple[int, int, bytes, list[memoryview]] | None:
        """Pickle a job; whatever that raises is the job's error."""
        job = self._context.jobs[number]
        call = job._function
        if not isinstance(call, ScriptCall):
            return super().encode(number)
        self._renew_prelude_if_old()
        try:
            payload, buffers = call.snapshot.dumps((job._arguments, job._kwargs))
            return self._table.number_of(call), 0, payload, buffers
        except BaseException as error:
            explain(error, f"The function or the arguments of {job.label} cannot be pickled")
            self._context.events.job_failed(job, error)
            return None

    def _renew_prelude(self) -> None:
        super()._renew_prelude()
        self._table.clear()

    def number_of(self, f: Any) -> int:
        """Return the number of a function that workers keep, -1 for one that travels anew."""
        if not isinstance(f, ScriptCall):
            return super().number_of(f)
        # The outbox remembers the last function that has a number, with all that it holds.
        return -1 if f.fresh else self._table.number_of(f)

    def required(self, number: int) -> Collection[int]:
        """Return the numbers of the units that a function needs."""
        if number != PREPARATION:
            return self._table.required(number)
        initial = self._backend.initial
        return [self._table.number_of(unit) for unit in initial.units] if initial else ()


class ScriptTable:
    """Numbers the functions and the units of script calls among the functions of a run.

    A number is dropped as soon as no call uses it.

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
            self._numbers.pop(key, None)  # `clear` may have come first, in another thread
            self._required.pop(number, None)
            self._functions.drop(number)

        self._numbers[key] = number, weakref.ref(obj, drop)
        if isinstance(obj, ScriptCall):
            self._required[number] = [self.number_of(unit) for unit in obj.snapshot.units]
        return number

    def required(self, number: int) -> Collection[int]:
        """Return the numbers of the units that a call's function needs."""
        return self._required.get(number, ())

    def clear(self) -> None:
        """Forget all numbers, which the run has dropped."""
        self._numbers.clear()
        self._required.clear()
