"""What an executor queues for a call of a script: the function, and a snapshot of the globals."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any

from bsbpool.naming import name_of
from bsbpool.serialization import Parcel, buffer_collector


class Unit:
    """Globals of the script with their values at one submission.

    Parameters
    ----------
    number : int
        Identifies the unit.
    names : tuple of str
        The globals: one, or several that refer to each other.
    payload : bytes or None
        The pickle of the tuple of their values; None when they have none.
    reason : str or None
        Why they cannot be sent; None when they are deleted.
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
        """Whether the unit was made of exactly these objects."""
        return self.payload is payload and (self.reason, self.needs) == (reason, needs)

    def parcel(self) -> Parcel:
        """Return what is sent to a worker."""
        payload = None if self.payload is None else pickle.PickleBuffer(self.payload)
        needs = tuple(unit.number for unit in self.needs)
        return dumps_plain((self.number, self.names, payload, self.reason, needs))


class Snapshot:
    """The globals that a call can reach, with their values at its submission.

    Parameters
    ----------
    units : tuple of Unit
        Each one after the units that it needs.
    definitions : mapping of str to object
        The functions and classes among them.
    """

    def __init__(self, units: tuple[Unit, ...], definitions: Mapping[str, Any]) -> None:
        self.units = units
        self.definitions = definitions
        self._ids: dict[int, str] = {}

    def dumps(self, obj: Any) -> Parcel:
        """Pickle arguments; globals that they refer to have the values of the submission."""
        buffers: list[memoryview] = []
        try:
            payload = pickle.dumps(obj, 5, buffer_callback=buffer_collector(buffers))
            # pickle refers to bound methods by a name that it does not check.
            if b"__main__" not in payload and b"getattr" not in payload:
                return payload, buffers
        except Exception:  # something may have no name by which it can be imported
            pass
        from bsbpool.script.pickling import ScriptPickler, ids_of

        self._ids = self._ids or ids_of(self.definitions)
        file, buffers = io.BytesIO(), []
        collect = buffer_collector(buffers)
        names, ids = self.definitions, self._ids
        ScriptPickler(file, names, ids, arguments=True, buffer_callback=collect).dump(obj)
        return file.getvalue(), buffers

    def has(self, name: str) -> bool:
        """Whether a global belongs to it."""
        return any(name in unit.names for unit in self.units)

    def extended(self, other: Snapshot) -> Snapshot:
        """Return a snapshot that also has the further globals of another one."""
        more = [unit for unit in other.units if not any(map(self.has, unit.names))]
        return Snapshot((*self.units, *more), {**other.definitions, **self.definitions})


class ScriptCall:
    """A function that workers call with the globals of a snapshot; a job's function on main.

    Parameters
    ----------
    f : callable
        The function.
    payload : bytes
        Its pickle, with references to the globals of the snapshot.
    snapshot : Snapshot
        The globals.
    fresh : bool
        Whether each call gets a copy of the function of its own.
    """

    def __init__(self, f: Any, payload: bytes, snapshot: Snapshot, fresh: bool) -> None:
        self.f, self.payload, self.snapshot, self.fresh = f, payload, snapshot, fresh

    def parcel(self) -> Parcel:
        """Return what is sent to a worker."""
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
    """Pickle an object that consists of builtin values."""
    buffers: list[memoryview] = []
    payload = pickle.dumps(obj, 5, buffer_callback=buffer_collector(buffers))
    return payload, buffers
