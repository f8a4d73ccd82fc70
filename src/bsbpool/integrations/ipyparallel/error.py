"""The exceptions of clients and engines.

All of them are a `RemoteError`, so that one ``except`` clause gets the errors of tasks, and
conditions of the scheduler such as `ImpossibleDependency`; each has `ename` and `evalue`.
"""

from __future__ import annotations

import builtins
import copy
import sys
from collections.abc import Iterable, Mapping
from typing import Any

TimeoutError = builtins.TimeoutError
"""The built-in class; `AsyncResult.get` raises it."""


class IPythonError(Exception):
    """The base class of all errors here."""


class KernelError(IPythonError):
    """The base class of errors of engines."""


class RemoteError(KernelError):
    """An error that a task raised on an engine.

    Its ``__cause__`` is the original exception, if it could be sent.

    Parameters
    ----------
    ename : str
        The name of the class of the original exception; by default that of this class.
    evalue : str
        Its text.
    traceback : str
        Its traceback.
    engine_info : mapping
        The engine: `engine_id`, `engine_uuid` and the `method` that was called.

    Attributes
    ----------
    ename, evalue, traceback, engine_info
        The parameters.
    """

    def __init__(
        self,
        ename: str = "",
        evalue: str | None = None,
        traceback: str = "",
        engine_info: Mapping[str, Any] | None = None,
    ) -> None:
        # With one argument it is the message, as for other exceptions.
        message_only = evalue is None
        super().__init__(ename, evalue)
        self.ename = type(self).__name__ if message_only else ename
        self.evalue = ename if evalue is None else evalue
        self.traceback = traceback
        self.engine_info = dict(engine_info or {})

    def __reduce__(self) -> Any:
        return _remake, (type(self), self.ename, self.evalue, self.traceback, self.engine_info)

    @property
    def engine_label(self) -> str:
        """The engine and the method, as in ``[2:apply]: ``; "" without an engine."""
        return engine_label(self.engine_info)

    def __str__(self) -> str:
        return f"{self.engine_label}{self.ename}({self.evalue})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}:{self.engine_label}{self.ename}({self.evalue})>"

    def render_traceback(self) -> list[str]:
        """Return the traceback of the engine as lines."""
        lines = self.traceback.splitlines() or [f"{self.ename}: {self.evalue}"]
        label = self.engine_label
        return [label + lines[0], *lines[1:]] if label else lines

    _render_traceback_ = render_traceback  # IPython calls it to show the error

    def print_traceback(self, excid: int | None = None) -> None:
        """Write the traceback of the engine to stdout."""
        sys.stdout.write("\n".join(self.render_traceback()) + "\n")


def copy_of(error: RemoteError) -> RemoteError:
    """Return a copy to raise: an exception that was raised keeps the caller's variables alive."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied


def engine_label(engine_info: Mapping[str, Any]) -> str:
    """Return the engine and the method, as in ``[2:apply]: ``."""
    if not engine_info:
        return ""
    return f"[{engine_info.get('engine_id', '?')}:{engine_info.get('method', 'apply')}]: "


def _remake(kind: type[RemoteError], *args: Any) -> RemoteError:
    made = kind.__new__(kind)
    RemoteError.__init__(made, *args)
    return made


class EngineError(RemoteError):
    """An engine died while it ran the task."""


class NoEnginesRegistered(RemoteError):
    """There are no engines."""


class TaskAborted(RemoteError):
    """The task was cancelled before it began."""


class TaskTimeout(RemoteError):
    """The task took longer than its time limit."""


class UnmetDependency(RemoteError):
    """A task cannot run on this engine; another one is tried."""


class ImpossibleDependency(UnmetDependency):
    """A task cannot run on any engine."""


class DependencyTimeout(ImpossibleDependency):
    """The dependencies of a task did not end in time."""


class InvalidDependency(ImpossibleDependency):
    """A dependency of a task is not a task."""


Entry = tuple[str, str, str, dict[str, Any]]


class CompositeError(RemoteError):
    """Several tasks of one result failed.

    Parameters
    ----------
    msg : str
        The message.
    elist : iterable of tuple
        For each failure, in the order of the targets: `ename`, `evalue`, `traceback` and
        `engine_info`.

    Attributes
    ----------
    msg : str
        The message.
    elist : list of tuple
        The failures.
    exceptions : list of RemoteError
        The failures as exceptions.
    tb_limit : int
        How many tracebacks are shown.
    """

    tb_limit = 4

    def __init__(self, msg: str, elist: Iterable[Any]) -> None:
        found = list(elist)
        self.exceptions = [_as_error(each) for each in found]
        self.elist: list[Entry] = [
            (each.ename, each.evalue, each.traceback, each.engine_info) for each in self.exceptions
        ]
        super().__init__("CompositeError", msg)
        self.msg = msg

    def __reduce__(self) -> Any:
        return type(self), (self.msg, self.exceptions)

    def __str__(self) -> str:
        return "\n".join([self.msg, *self._summary()])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({len(self.elist)})>"

    def _summary(self) -> list[str]:
        shown = [str(each) for each in self.exceptions[: self.tb_limit]]
        return [*shown, *self._rest()]

    def _rest(self) -> list[str]:
        n_left = len(self.exceptions) - self.tb_limit
        return [f".... {n_left} more exceptions ..."] if n_left > 0 else []

    def render_traceback(self, excid: int | None = None) -> list[str]:
        """Return the tracebacks of the engines as lines; of one failure, if `excid` is given."""
        if excid is not None:
            return self._entry(excid).render_traceback()
        lines: list[str] = []
        for each in self.exceptions[: self.tb_limit]:
            lines += [*each.render_traceback(), ""]
        return [*lines, *self._rest()]

    _render_traceback_ = render_traceback

    def print_traceback(self, excid: int | None = None) -> None:
        """Write the tracebacks of the engines to stdout."""
        sys.stdout.write("\n".join(self.render_traceback(excid)) + "\n")

    def raise_exception(self, excid: int = 0) -> None:
        """Raise one of the failures."""
        raise self._entry(excid)

    def _entry(self, excid: int) -> RemoteError:
        try:
            return self.exceptions[excid]
        except IndexError:
            raise IndexError(
                f"excid must be less than {len(self.exceptions)}, the number of failures, "
                f"got {excid}"
            ) from None


def _as_error(entry: Any) -> RemoteError:
    return entry if isinstance(entry, RemoteError) else RemoteError(*entry)


class AlreadyDisplayedError(RemoteError):
    """An error whose traceback has been shown, as that of `%px`.

    Parameters
    ----------
    original_error : RemoteError
        The error.
    """

    def __init__(self, original_error: RemoteError) -> None:
        super().__init__(original_error.ename, original_error.evalue)
        self.original_error = original_error

    def __reduce__(self) -> Any:
        return type(self), (self.original_error,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.original_error!r})>"

    def render_traceback(self) -> list[str]:
        """Return one line: the tracebacks have been shown."""
        n = len(getattr(self.original_error, "elist", [self.original_error]))
        return [f"{n} error{'s' if n > 1 else ''}"]

    _render_traceback_ = render_traceback
