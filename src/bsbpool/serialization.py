"""Objects into bytes: by reference first, by value only where needed.

A function or class that its module gives back by name travels as that name. Only
what cannot be found so (lambdas, functions inside functions) travels by value,
with cloudpickle. Large buffers (arrays) are not copied into the pickle but
listed beside it, to travel on their own.
"""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Sequence
from typing import Any

from bsbpool.exceptions import RemoteError, WorkerTraceback
from bsbpool.interrupts import Terminated

OUT_OF_BAND = 32 * 1024
"""Buffers from this many bytes on travel out of band."""
MOST_BUFFERS = 1_000
"""Further buffers of one object stay in the pickle."""

_main_is_shared = True

Parcel = tuple[bytes, list[memoryview]]


def dumps(obj: Any) -> Parcel:
    """Pickle an object.

    Returns
    -------
    payload : bytes
        The pickle.
    buffers : list of memoryview
        Contiguous bytes that `loads` needs beside it.

    Raises
    ------
    Exception
        Whatever pickling raises: PicklingError, TypeError, AttributeError, ...
    """
    buffers: list[memoryview] = []
    try:
        payload = pickle.dumps(obj, 5, buffer_callback=buffer_collector(buffers))
    except (pickle.PicklingError, AttributeError, TypeError):
        # Something has no name to travel by. Costs a second try, but only then.
        return _dumps_by_value(obj)
    return payload, buffers


def main_runs_alone() -> None:
    """From here on the other ranks do not run the main script; see `bsbpool.script`."""
    from bsbpool import functions_by_value

    global _main_is_shared
    _main_is_shared = False
    functions_by_value.main_runs_alone()


def loads(payload: Any, buffers: Sequence[Any] = ()) -> Any:
    """Make an object from what `dumps` returned."""
    return pickle.loads(payload, buffers=buffers)


def dumps_function(function: Any) -> Parcel:
    """Pickle a function or class that jobs call."""
    return dumps(travelling(function))


def travelling(function: Any) -> Any:
    """Return what to pickle for a function or class; it unpickles as that.

    What ``__main__`` defines travels by name and by value: the other ranks run the
    same script, but may not have come by the definition.
    """
    if getattr(function, "__module__", None) == "__main__" and _main_is_shared:
        from bsbpool.functions_by_value import OfMain, is_importable

        if is_importable(function):
            return OfMain(function)
    return function


def buffer_collector(buffers: list[memoryview]) -> Any:
    """Return a callback for picklers that puts large buffers into a list."""

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        if len(buffers) >= MOST_BUFFERS:
            return True
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if view.nbytes < OUT_OF_BAND:
            return True
        buffers.append(view)
        return False

    return keep_in_band


def _dumps_by_value(obj: Any) -> Parcel:
    from bsbpool.functions_by_value import Pickler

    return _dump_with(Pickler, obj)


def _dump_with(pickler: Any, obj: Any) -> Parcel:
    buffers: list[memoryview] = []
    file = io.BytesIO()
    pickler(file, protocol=5, buffer_callback=buffer_collector(buffers)).dump(obj)
    return file.getvalue(), buffers


def dump_error(error: BaseException, rank: int, job: str) -> Parcel:
    """Pickle an error with its traceback as text, whatever the error is made of."""
    cause = WorkerTraceback(rank, job, _safe_text(error))
    for pack in (dumps, _dumps_rebuilding):
        try:
            parcel = pack((error, cause))
            # Errors with a signature of their own fail, or change, only when loaded.
            if _is_same(loads(*parcel)[0], error):
                return parcel
        except Terminated:
            raise
        except BaseException:  # what an error does when it is pickled is no reason to end
            continue
    return dumps((RemoteError(f"{type(error).__qualname__}: {_safe_str(error)}"), cause))


def load_error(payload: Any, buffers: Sequence[Any] = ()) -> BaseException:
    """Make an error from what `dump_error` returned; its ``__cause__`` is where it arose."""
    error: BaseException
    error, cause = loads(payload, buffers)
    error.__cause__ = cause
    return error


def _is_same(copy: BaseException, error: BaseException) -> bool:
    if type(copy).__qualname__ != type(error).__qualname__:
        return False
    return dumps(copy.args)[0] == dumps(error.args)[0]


def _dumps_rebuilding(obj: Any) -> Parcel:
    """Pickle an object so that the errors in it are made again without their ``__init__``."""
    from bsbpool.functions_by_value import Pickler as ByValue

    class Pickler(ByValue):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, BaseException) and not isinstance(obj, WorkerTraceback):
                return _rebuild, (type(obj), obj.args, dict(obj.__dict__))
            return super().reducer_override(obj)

    return _dump_with(Pickler, obj)


def _rebuild(kind: type, args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error: BaseException = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


def _safe_text(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:
        return "".join(traceback.format_tb(error.__traceback__))


def _safe_str(error: BaseException) -> str:
    try:
        return str(error)
    except Terminated:
        raise
    except BaseException as broken:
        return f"<its str() raised {type(broken).__name__}>"
