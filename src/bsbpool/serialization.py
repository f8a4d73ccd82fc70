"""Objects into bytes: by reference first, by value only where needed.

A function or class that its module gives back by name travels as that name. Only
what cannot be found so (lambdas, functions inside functions) travels by value,
with cloudpickle. Large buffers (arrays) are not copied into the pickle but
listed beside it, to travel on their own.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import traceback
from collections.abc import Sequence
from typing import Any

from bsbpool.by_name import BOUND_TYPES, is_importable, reduce_bound
from bsbpool.exceptions import RemoteError, WorkerTraceback
from bsbpool.interrupts import Terminated
from bsbpool.tracebacks import with_source

OUT_OF_BAND = 32 * 1024
"""Buffers from this many bytes on travel out of band."""
MOST_BUFFERS = 1_000
"""Further buffers of one object stay in the pickle."""

_main_travels = False

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
        payload = pickle.dumps(obj, 5, buffer_callback=_collector(buffers))
        # Under `bsbpool.run` the names of the script mean something else on other ranks.
        by_name = not (_main_travels and b"__main__" in payload)
        if by_name and b"getattr" in payload:  # bound methods, whose names pickle does not check
            payload, buffers = _dump_with(_ByName, obj)
    except (pickle.PicklingError, AttributeError, TypeError):
        by_name = False  # Something has no name to travel by. Costs a second try, but only then.
    return (payload, buffers) if by_name else _dumps_by_value(obj)


class _ByName(pickle.Pickler):
    """pickle's pickler, but for bound methods."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dispatch_table = copyreg.dispatch_table | dict.fromkeys(BOUND_TYPES, reduce_bound)


def let_main_travel() -> None:
    """From here on bring along what the main script defines: only this rank runs it."""
    from bsbpool import functions_by_value

    global _main_travels
    _main_travels = True
    functions_by_value.let_main_travel()


def loads(payload: Any, buffers: Sequence[Any] = ()) -> Any:
    """Make an object from what `dumps` returned."""
    return pickle.loads(payload, buffers=buffers)


def dumps_function(function: Any) -> Parcel:
    """Pickle a function or class that jobs call."""
    return dumps(travelling(function))


def travels_by_name(obj: Any) -> bool:
    """Whether a function or class travels as a name that the other ranks know as well."""
    if _main_travels and getattr(obj, "__module__", None) == "__main__":
        return False
    return is_importable(obj)


def travelling(function: Any) -> Any:
    """Return what to pickle for a function or class; it unpickles as that.

    What ``__main__`` defines travels by name and by value: the other ranks run the
    same script, but may not have come by the definition.
    """
    if getattr(function, "__module__", None) == "__main__" and not _main_travels:
        from bsbpool.functions_by_value import OfMain

        if is_importable(function):
            return OfMain(function)
    return function


def _collector(buffers: list[memoryview]) -> Any:
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
    pickler(file, protocol=5, buffer_callback=_collector(buffers)).dump(obj)
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
    cause.text = with_source(cause.text)
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
