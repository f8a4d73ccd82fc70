"""Records of the globals of the script: their pickles, and the globals these refer to."""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any

from bsbpool.naming import error_text
from bsbpool.process import is_from_signal, marking_signals
from bsbpool.script.namespace import global_of_script
from bsbpool.script.pickling import ScriptPickler, ids_of, is_definition, script_names
from bsbpool.script.unchanged import Node, are_unchanged, nodes_of

MISSING = object()
"""The value of a global that does not exist."""


class View:
    """The namespace of the script while a call is being submitted."""

    def __init__(self) -> None:
        self.names = script_names()

    @cached_property
    def ids(self) -> dict[int, str]:
        """The globals by the id of their value."""
        return ids_of(self.names)

    def pickler(self, file: Any, **options: Any) -> ScriptPickler:
        """Return a pickler that refers to the globals as they are now."""
        return ScriptPickler(file, self.names, self.ids, **options)


class Record:
    """The state of one global at the last submission that could reach it.

    Attributes
    ----------
    payload : bytes or None
        The pickle of a tuple with the value; None if there is none.
    reason : str or None
        The reason why the value cannot be pickled.
    references : dict of str to object
        The globals that the pickle refers to, with the values that they had.
    mentioned : frozenset of str
        The global names in the code of functions inside the pickle.
    """

    def __init__(self, name: str, value: Any, view: View) -> None:
        self.name = name
        self.payload: bytes | None = None
        self.reason: str | None = None
        self.references: dict[str, Any] = {}
        self.mentioned: frozenset[str] = frozenset()
        self._value: Any = None  # kept only if its nodes show whether it has changed
        self._nodes: list[Node] | None = None
        self._unnamed: list[Any] = []
        self._owner = name
        self._definition: Any = None  # the value, of a function or class
        self._take(value, view)

    def update(self, value: Any, view: View) -> bool:
        """Update the record from the value; return whether it has changed."""
        if self.is_current(view) and self._has_names_as_before(value, view):
            return False
        definition, before = self._definition, self._description()
        self._take(value, view)
        return definition is not self._definition or before != self._description()

    def _description(self) -> tuple[Any, ...]:
        return self.payload, self.reason, self.references.keys(), self.mentioned

    def is_current(self, view: View) -> bool:
        """Whether a quick check shows that the value is unchanged."""
        names = view.names
        if self._nodes is None or names.get(self.name, MISSING) is not self._value:
            return False
        if self._nodes and not are_unchanged(self._nodes):
            return False
        return all(names.get(name, MISSING) is obj for name, obj in self.references.items())

    def _has_names_as_before(self, value: Any, view: View) -> bool:
        """Whether the value and its parts have the same names as globals, or none, as before."""
        if view.ids.get(id(value), self.name) != self._owner:
            return False
        return not any(id(obj) in view.ids for obj in self._unnamed)

    def _take(self, value: Any, view: View) -> None:
        # Before pickling, so that the next submission detects a change during it.
        self._nodes = nodes_of(value)
        self._value = None if self._nodes is None else value
        self._definition = value if is_definition(value) else None
        self._owner = view.ids.get(id(value), self.name)  # the first name of the value
        found: set[str] = set()
        if value is MISSING:
            self.payload = self.reason = None
            self.mentioned, self._unnamed = frozenset(), []
        elif self._owner != self.name:
            found = {self._owner}
            payload, self.reason, _ = dump_values((_Alias(self._owner),), view)
            self._keep(payload)
            self.mentioned, self._unnamed = frozenset(), []
        else:
            payload, self.reason, pickler = dump_values((value,), view)
            self._keep(payload)
            found = pickler.references
            self.mentioned = frozenset(pickler.mentioned)
            self._unnamed = pickler.unnamed
        self.references = {name: view.names.get(name, MISSING) for name in found}

    def _keep(self, payload: bytes | None) -> None:
        if payload != self.payload:  # units compare payloads by identity
            self.payload = payload


class _Alias:
    """A reference to a global that has the same value under another name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return global_of_script, (self.name,)


def dump_values(
    values: tuple[Any, ...], view: View
) -> tuple[bytes | None, str | None, ScriptPickler]:
    """Pickle the values of globals; return the pickle or the reason, and the pickler."""
    file = io.BytesIO()
    pickler = view.pickler(file, whole=set(map(id, values)), values=True)
    error = dump(pickler, values)
    if error is not None:
        return None, f"it cannot be pickled ({error_text(error)})", pickler
    return file.getvalue(), None, pickler


def dump(pickler: ScriptPickler, obj: Any) -> BaseException | None:
    """Pickle an object; return the error that this raises. Errors of signals propagate."""
    with marking_signals():
        try:
            pickler.dump(obj)
        except BaseException as error:
            if is_from_signal(error):
                raise
            return error
    return None
