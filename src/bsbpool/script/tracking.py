"""Tracking of the globals of the script, in the process that runs the script."""

from __future__ import annotations

import io
import itertools
import pickle
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from bsbpool.execution.functions import is_kept
from bsbpool.process import is_from_signal, marking_signals
from bsbpool.script.calls import ScriptCall, Snapshot, Unit
from bsbpool.script.components import components
from bsbpool.script.pickling import is_definition, script_names
from bsbpool.script.records import MISSING, Record, View, dump, dump_values
from bsbpool.script.unchanged import are_unchanged, nodes_of

MOST_KEPT = 1_024
"""Maximum number of functions, and of sets of names, that are kept."""
SCALARS = frozenset([type(None), bool, int, float, complex, str, bytes])
"""Types whose pickles contain no reference to globals."""

Names = frozenset[str]
NO_NAMES: Names = frozenset()


class Callee:
    """A function that was submitted.

    Attributes
    ----------
    names : frozenset of str
        The globals that its pickle refers to and the global names in its code.
    kept : bool
        Whether workers can use the unpickled function for several calls.
    """

    def __init__(self, f: Any, view: View) -> None:
        self.f = f
        self.payload, self.names = b"", NO_NAMES
        self._name = view.ids.get(id(f)) if is_definition(f) else None
        self._nodes = nodes_of(f)
        self.kept = False
        file = io.BytesIO()
        # Classes that are not globals occur only in functions that each call unpickles.
        pickler = view.pickler(file, arguments=True)
        error = dump(pickler, f)
        self.names = frozenset(pickler.references | pickler.mentioned)
        if error is not None:  # the thread of the executor pickles again and reports it
            return
        self._values = {name: view.names.get(name) for name in pickler.references}
        self._unnamed = pickler.unnamed
        self.payload = file.getvalue()
        self.kept = self._name is not None or (is_kept(f) and self._nodes is not None)

    def is_current(self) -> bool:
        """Whether the pickle is up to date."""
        names = script_names()
        if not self.kept or any(names.get(name) is not self._values[name] for name in self._values):
            return False
        if self._name is not None:
            return True
        if self._unnamed and any(id(obj) in View().ids for obj in self._unnamed):
            return False
        return self._nodes is not None and are_unchanged(self._nodes)


class Reach:
    """The globals that can be reached from a set of names.

    Attributes
    ----------
    records : list of Record
        The globals.
    absent : set of str
        The names that have never had a value.
    snapshot : Snapshot
        The latest snapshot of the globals.
    """

    def __init__(self, records: list[Record], absent: set[str], snapshot: Snapshot) -> None:
        self.records, self.absent, self.snapshot = records, absent, snapshot

    def is_current(self, view: View) -> bool:
        """Whether a quick check shows that the snapshot is up to date."""
        for record in self.records:
            if not record.is_current(view):
                return False
        return view.names.keys().isdisjoint(self.absent)


class ScriptGlobals:
    """Finds the globals of the script that calls can reach, and those that have changed.

    A change is detected when a call that can reach the global is submitted.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._records: dict[str, Record] = {}
        self._units: dict[tuple[str, ...], Unit] = {}
        self._payloads: dict[tuple[str, ...], tuple[tuple[Any, ...], bytes | None, str | None]] = {}
        self._callees: dict[int, Callee] = {}
        self._snapshots: dict[Names, Reach] = {}
        self._kept_calls: dict[tuple[bytes, Snapshot], ScriptCall] = {}
        # Weak references, since the state of a call may be large.
        self._fresh_calls: weakref.WeakValueDictionary[tuple[bytes, Snapshot], ScriptCall] = (
            weakref.WeakValueDictionary()
        )

    # For calls

    def bind(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Callable[..., Any]:
        """Bind a call to the present values of the globals.

        Returns
        -------
        callable
            A `ScriptCall`; the function itself if it has no state and the call reaches no globals.
        """
        with self._lock:
            callee = self.callee(f)
            names = callee.names
            if not SCALARS.issuperset(map(type, args)) or kwargs:
                names = names | self.names_in([(args, kwargs)])
            if not callee.payload or (callee.kept and not names):
                return f
            return self.call(callee, self.snapshot(names))

    def snapshot_for(self, f: Callable[..., Any], items: Iterable[Any]) -> Snapshot:
        """Return a snapshot of the globals that a function and its arguments can reach."""
        with self._lock:
            return self.snapshot(self.callee(f).names | self.names_in(items))

    def call(self, callee: Callee, snapshot: Snapshot) -> ScriptCall:
        """Return the callable to queue for a function with a snapshot."""
        calls = self._kept_calls if callee.kept else self._fresh_calls
        key = callee.payload, snapshot
        call = calls.get(key)
        if call is None:
            call = ScriptCall(callee.f, callee.payload, snapshot, fresh=not callee.kept)
            if callee.kept:
                _evict_oldest(self._kept_calls, MOST_KEPT)
            calls[key] = call
        return call

    def callee(self, f: Callable[..., Any]) -> Callee:
        """Return the `Callee` of a function, with an up-to-date pickle."""
        callee = self._callees.get(id(f))
        if callee is None or not callee.is_current():
            callee = Callee(f, View())
            if callee.kept:
                _evict_oldest(self._callees, MOST_KEPT)
                self._callees[id(f)] = callee
        return callee

    def names_in(self, items: Iterable[Any]) -> Names:
        """Return the globals that the pickles of objects refer to and the names in their code."""
        with self._lock:
            view, names = View(), NO_NAMES
            for item in items:
                if type(item) not in SCALARS and _may_refer(item):
                    pickler = view.pickler(_NullFile(), buffer_callback=_ignore_buffer)
                    dump(pickler, item)  # errors are reported when the call is pickled
                    names |= pickler.references | pickler.mentioned
            return names

    # For snapshots

    def snapshot(self, names: Names) -> Snapshot:
        """Return a snapshot of the globals that can be reached from names."""
        with self._lock:
            view = View()
            found = self._snapshots.get(names)
            if found is None or not found.is_current(view):
                reached = self._reach(names, view)
                found = self._snapshots.get(names)  # `_reach` removes it after a change
            if found is None:
                found = self._make_reach(reached, view)
                _evict_oldest(self._snapshots, MOST_KEPT)
                self._snapshots[names] = found
            return found.snapshot

    def _make_reach(self, names: set[str], view: View) -> Reach:
        records = [self._records[name] for name in names if name in self._records]
        values = {name: view.names.get(name) for name in names}
        definitions = {name: value for name, value in values.items() if is_definition(value)}
        snapshot = Snapshot(self._units_of(records, view), definitions)
        return Reach(records, names - self._records.keys(), snapshot)

    def _reach(self, names: Names, view: View) -> set[str]:
        """Update the records of all globals that can be reached from names; return their names."""
        reached: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in reached or name == "__builtins__":
                continue
            reached.add(name)
            value = view.names.get(name, MISSING)
            record = self._records.get(name)
            if record is None:
                if value is MISSING:
                    continue  # never had a value; an initializer of the worker may set it
                record = self._records[name] = Record(name, value, view)
                self._forget_calls()
            elif record.update(value, view):
                self._forget_calls()
            waiting += record.references.keys() | record.mentioned
        return reached

    def _forget_calls(self) -> None:
        self._snapshots.clear()
        self._kept_calls.clear()
        self._fresh_calls.clear()

    def _units_of(self, records: list[Record], view: View) -> tuple[Unit, ...]:
        graph = {
            record.name: [name for name in record.references if name in self._records]
            for record in records
        }
        unit_of: dict[str, Unit] = {}
        for names in components(graph):
            referred = dict.fromkeys(
                unit_of[name] for each in names for name in graph[each] if name not in names
            )
            unit = self._unit(names, tuple(referred), view)
            unit_of.update(dict.fromkeys(names, unit))
        return tuple(dict.fromkeys(unit_of.values()))

    def _unit(self, names: tuple[str, ...], needs: tuple[Unit, ...], view: View) -> Unit:
        payload, reason = self._payload(names, view)
        unit = self._units.get(names)
        if unit is None or not unit.is_of(payload, reason, needs):
            unit = self._units[names] = Unit(next(self._numbers), names, payload, reason, needs)
        return unit

    def _payload(self, names: tuple[str, ...], view: View) -> tuple[bytes | None, str | None]:
        records = [self._records[name] for name in names]
        if len(records) == 1:
            return records[0].payload, records[0].reason
        parts = tuple(record.payload for record in records)
        known = self._payloads.get(names)
        if known is None or known[0] != parts:
            values = tuple(view.names[name] for name in names)
            payload, reason, _ = dump_values(values, view)
            known = self._payloads[names] = parts, payload, reason
        return known[1], known[2]


def _ignore_buffer(buffer: Any) -> bool:
    """Keep a buffer out of a pickle that is made only to find references."""
    return False


class _NullFile:
    """A file that discards all data."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def _may_refer(obj: Any) -> bool:
    """Whether the pickle of an object may refer to the script; fast also for large data."""
    with marking_signals():
        try:
            payload = pickle.dumps(obj, 5, buffer_callback=_ignore_buffer)
        except BaseException as error:
            if is_from_signal(error):
                raise
            return True
    return b"__main__" in payload


def _evict_oldest(kept: dict[Any, Any], most: int) -> None:
    if len(kept) >= most:
        del kept[next(iter(kept))]


_script: ScriptGlobals | None = None


def script_globals() -> ScriptGlobals:
    """Return the `ScriptGlobals` of this process."""
    global _script
    if _script is None:
        _script = ScriptGlobals()
    return _script
