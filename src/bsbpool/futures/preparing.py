"""What a worker does before its first call: the executor's initializer."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from bsbpool.forks import end_if_child_of
from bsbpool.futures.errors import InitializerError
from bsbpool.interrupts import Terminated
from bsbpool.naming import add_note, error_text
from bsbpool.serialization import Parcel, dumps, dumps_function, loads, out_of_band

_numbers = itertools.count()


class Preparation:
    """An initializer with its arguments, as it travels.

    Parameters
    ----------
    initializer : callable
        What to call.
    initargs : tuple
        With what.
    """

    def __init__(self, initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> None:
        self.key = (os.getpid(), next(_numbers))
        payload, buffers = self._dumps(initializer, initargs)
        self.function = payload, out_of_band(buffers)

    def _dumps(self, initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> Parcel:
        self.initargs = initargs
        return dumps_function(initializer)

    def run(self) -> None:
        """Call the initializer."""
        loads(*self.function)(*self.initargs)


class Prepared:
    """What this process has prepared for.

    Attributes
    ----------
    error : InitializerError or None
        Why no call can run here.
    """

    def __init__(self) -> None:
        self._key: Any = None
        self.error: InitializerError | None = None

    def by(self, payload: Any, buffers: Any = ()) -> None:
        """Run a preparation, which travelled, unless that was done."""
        process = os.getpid()
        try:
            preparation: Preparation = loads(payload, buffers)
            if preparation.key == self._key:
                return
            self._key = preparation.key
            preparation.run()
        except BaseException as error:
            end_if_child_of(process, error)
            if isinstance(error, Terminated):
                raise
            self.error = InitializerError(f"the initializer raised {error_text(error)}")
            self.error.__cause__ = error


def unpickled(load: Callable[..., Any], *args: Any) -> Any:
    """Return the result that `load` unpickles; if that raises, add a note to the error."""
    try:
        return load(*args)
    except BaseException as error:
        add_note(error, "The result of the call cannot be unpickled on this rank.")
        raise


def packed(initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> Parcel | None:
    """Pickle an initializer; None when there is none."""
    return None if initializer is None else dumps(Preparation(initializer, initargs))
