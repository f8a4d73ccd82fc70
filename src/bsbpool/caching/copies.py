"""Recognizes copies of one object in the arguments of jobs.

On a worker, each job unpickles a copy of its own. Copies count as one object as long as they have
the same state, which is the class and the pickle. Objects that a job changed, that cannot be
pickled, or that refer to the owner of the pool (its nodes) count by identity.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Hashable
from pickle import PickleBuffer
from typing import Any, NamedTuple


class State(NamedTuple):
    """The state of an object: its class and a hash of its pickle."""

    kind: type
    digest: bytes


class Copies:
    """The objects in the arguments of jobs that this rank ran in one run.

    Parameters
    ----------
    owner : object
        The owner of the pool. It and its nodes are not copies.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._known: dict[int, tuple[weakref.ref[Any], State | None]] = {}

    def state_of(self, obj: Any, confirm: bool = False) -> State | None:
        """Return the first known state of an object; None if it counts by identity.

        Parameters
        ----------
        obj : object
            The object.
        confirm : bool
            Whether to compare the object with its first known state. If it has changed, it counts
            by identity from now on, and does not share results with copies.
        """
        known = self._known.get(id(obj))
        if known is not None and (known[1] is None or not confirm):
            return known[1]
        state = self._state_now(obj)
        if known is not None and state != known[1]:
            state = None
        self._remember(obj, state)
        return state

    def key_part(self, argument: Any, confirm: bool) -> Hashable:
        """Return the part of a cache key for an argument: its state if its hash is by identity."""
        by_address: Any = object.__hash__
        stands_for: Hashable = argument
        if type(argument).__hash__ is by_address:
            stands_for = self.state_of(argument, confirm) or argument
        return stands_for

    def _remember(self, obj: Any, state: State | None) -> None:
        number, known = id(obj), self._known
        try:
            reference = weakref.ref(obj, lambda _: known.pop(number, None))
        except TypeError:  # it has slots without __weakref__, and is pickled each time
            return
        known[number] = (reference, state)

    def _state_now(self, obj: Any) -> State | None:
        from hashlib import blake2b  # slow to import, and most workers need no state

        hashed = blake2b(digest_size=16)

        def add(data: Any) -> None:
            view = memoryview(data)
            hashed.update(view.nbytes.to_bytes(8, "little"))
            hashed.update(view)

        def add_buffer(buffer: PickleBuffer) -> bool:
            try:
                add(buffer.raw())
            except BufferError:  # not contiguous, so it becomes part of the pickle
                return True
            return False

        try:
            if self._owner is not None and getattr(obj, "scaffold", None) is self._owner:
                return None
            pickler = _pickler()(_Writer(add), protocol=5, buffer_callback=add_buffer)
            pickler.kind, pickler.owner = type(obj), self._owner
            pickler.dump(obj)
        except Exception:  # it cannot be pickled
            return None
        return State(type(obj), hashed.digest())


class _Writer:
    """A file that passes the written data to a function."""

    def __init__(self, write: Any) -> None:
        self.write = write


@functools.cache
def _pickler() -> Any:
    from bsbpool.functions_by_value import Pickler  # loads cloudpickle

    class StatePickler(Pickler):
        kind: Any = None
        owner: Any = None

        def reducer_override(self, obj: Any) -> Any:
            if obj is self.kind:
                return id, (0,)  # it is compared as `State.kind`
            if obj is self.owner:
                raise ValueError("the object refers to the owner of the pool, so it is not a copy")
            return super().reducer_override(obj)

    return StatePickler
