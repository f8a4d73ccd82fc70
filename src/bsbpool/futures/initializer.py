"""The initializer of an executor: called by each worker before its first call."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from bsbpool.futures.errors import InitializerError
from bsbpool.naming import error_text
from bsbpool.process import Terminated, end_if_child_of
from bsbpool.serialization import Parcel, dumps, dumps_function, loads, out_of_band

_numbers = itertools.count()


class PackedInitializer:
    """An initializer with its arguments, in the form in which it is sent.

    Parameters
    ----------
    initializer : callable
        The function to call.
    initargs : tuple
        Its arguments.
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


class InitializerState:
    """The initializer that this process has run.

    Attributes
    ----------
    error : InitializerError or None
        The error of the initializer; when it is set, this process runs no calls.
    """

    def __init__(self) -> None:
        self._key: tuple[int, int] | None = None
        self.error: InitializerError | None = None

    def run_once(self, payload: Any, buffers: Any = ()) -> None:
        """Unpickle and run an initializer, unless it is the one that was run last."""
        process = os.getpid()
        try:
            initializer: PackedInitializer = loads(payload, buffers)
            if initializer.key == self._key:
                return
            self._key = initializer.key
            initializer.run()
        except BaseException as error:
            end_if_child_of(process, error)
            if isinstance(error, Terminated):
                raise
            self.error = InitializerError(f"the initializer raised {error_text(error)}")
            self.error.__cause__ = error


def pack_initializer(
    initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]
) -> Parcel | None:
    """Pickle an initializer and its arguments; return None without an initializer."""
    return None if initializer is None else dumps(PackedInitializer(initializer, initargs))
