"""Calls of a script as an executor queues them: a function with a snapshot of the globals."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

from bsbpool.naming import name_of
from bsbpool.serialization import Parcel, buffer_collector


class Unit:
    """Globals of the script with their values at one submission; they are sent together.

    Parameters
    ----------
    number : int
        Identifies the unit.
    names : tuple of str
        The names: one, or several if the globals refer to each other.
    payload : bytes or None
        The pickle of the tuple of their values; None if there are no values to send.
    reason : str or None
        The reason why the values cannot be sent; None if the globals were deleted.
    needs : tuple of Unit
        The units that the payload refers to.
    """

    __slots__ = ("__weakref__", "names", "needs", "number", "payload", "reason")

    def __init__(
        self,
        number: int,
        names: tuple[str, ...],
        payload: bytes | None,
        reason: str | None,
        needs: tuple[Unit, ...],
    ) -> None:
        self.number, self.names, self.needs = number, names, needs
        self.payload, self.reason = payload, reason

    def is_of(self, payload: bytes | None, reason: str | None, needs: tuple[Unit, ...]) -> bool:
        """Whether the unit has exactly these objects, compared by identity."""
        return self.payload is payload and (self.reason, self.needs) == (reason, needs)

    def parcel(self) -> Parcel:
        """Return the pickle to send to a worker."""
        payload = None if self.payload is None else pickle.PickleBuffer(self.payload)
        needs = tuple(unit.number for unit in self.needs)
        return dumps_plain((self.number, self.names, payload, self.reason, needs))


class Snapshot:
    """The globals that a call can reach, with their values at its submission.

    Parameters
    ----------
    units : tuple of Unit
        The units, each after the units that it needs.
    definitions : mapping of str to object
        The functions and classes among them.
    """

    def __init__(self, units: tuple[Unit, ...], definitions: Mapping[str, Any]) -> None:
        self.units = units
        self.definitions = definitions
        self._ids: dict[int, str] = {}

    def dumps(self, obj: Any) -> Parcel:
        """Pickle arguments. References to globals give the values at the submission."""
        buffers: list[memoryview] = []
        try:
            payload = pickle.dumps(obj, 5, buffer_callback=buffer_collector(buffers))
            # pickle does not check the names of bound methods.
            if b"__main__" not in payload and b"getattr" not in payload:
                return payload, buffers
        except Exception:  # a function or class cannot be imported
            pass
        from bsbpool.script.pickling import ScriptPickler, ids_of

        self._ids = self._ids or ids_of(self.definitions)
        file, buffers = io.BytesIO(), []
        collect = buffer_collector(buffers)
        names, ids = self.definitions, self._ids
        ScriptPickler(file, names, ids, arguments=True, buffer_callback=collect).dump(obj)
        return file.getvalue(), buffers

    def has(self, name: str) -> bool:
        """Whether a global is in the snapshot."""
        return any(name in unit.names for unit in self.units)

    def extended(self, other: Snapshot) -> Snapshot:
        """Return a snapshot with the globals of both; this one takes precedence."""
        more = [unit for unit in other.units if not any(map(self.has, unit.names))]
        return Snapshot((*self.units, *more), {**other.definitions, **self.definitions})


class ScriptCall:
    """The function of a job that a worker calls with the globals of a snapshot.

    Parameters
    ----------
    f : callable
        The function.
    payload : bytes
        Its pickle, with references to the globals of the snapshot.
    snapshot : Snapshot
        The globals.
    fresh : bool
        Whether each call unpickles a new copy of the function.
    """

    def __init__(self, f: Any, payload: bytes, snapshot: Snapshot, fresh: bool) -> None:
        self.f, self.payload, self.snapshot, self.fresh = f, payload, snapshot, fresh

    def parcel(self) -> Parcel:
        """Return the pickle to send to a worker."""
        numbers = [unit.number for unit in self.snapshot.units]
        payload = pickle.PickleBuffer(self.payload)
        return dumps_plain((name_of(self.f), numbers, payload, self.fresh))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function in this process, with the globals as they are now."""
        return self.f(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "__qualname__":  # messages name the function
            return name_of(self.f)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __str__(self) -> str:
        return str(self.f)


def dumps_plain(obj: Any) -> Parcel:
    """Pickle an object that consists of builtin types."""
    buffers: list[memoryview] = []
    payload = pickle.dumps(obj, 5, buffer_callback=buffer_collector(buffers))
    return payload, buffers
