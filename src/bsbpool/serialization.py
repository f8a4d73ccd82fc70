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
from collections.abc import Iterable, Sequence
from typing import Any

from bsbpool.by_name import BOUND_TYPES, is_importable, main_is_shared, reduce_bound
from bsbpool.forks import before_forks

OUT_OF_BAND = 32 * 1024
"""Buffers from this many bytes on travel out of band."""
MOST_BUFFERS = 1_000
"""Further buffers of one object stay in the pickle."""

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
        if b"getattr" in payload:  # bound methods, whose names pickle does not check
            payload, buffers = dump_with(_ByName, obj)
    except (pickle.PicklingError, AttributeError, TypeError):
        # Something has no name to travel by. Costs a second try, but only then.
        return _dumps_by_value(obj)
    return payload, buffers


class _ByName(pickle.Pickler):
    """pickle's pickler, but for bound methods."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dispatch_table = copyreg.dispatch_table | dict.fromkeys(BOUND_TYPES, reduce_bound)


def loads(payload: Any, buffers: Sequence[Any] = ()) -> Any:
    """Make an object from what `dumps` returned."""
    return pickle.loads(payload, buffers=buffers)


def dumps_function(function: Any) -> Parcel:
    """Pickle a function or class that jobs call."""
    return dumps(travelling(function))


def travels_by_name(obj: Any) -> bool:
    """Whether a function or class travels as a name that the other ranks know as well."""
    if not main_is_shared() and getattr(obj, "__module__", None) == "__main__":
        return False
    return is_importable(obj)


def travelling(function: Any) -> Any:
    """Return what to pickle for a function or class; it unpickles as that.

    What ``__main__`` defines travels by name and by value: the other ranks run the
    same script, but may not have come by the definition.
    """
    if getattr(function, "__module__", None) == "__main__" and main_is_shared():
        from bsbpool.functions_by_value import OfMain

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


def out_of_band(buffers: Iterable[Any]) -> list[pickle.PickleBuffer]:
    """Return the buffers of a pickle as objects that another pickle takes out of band.

    A NumPy array stands between, since CPython's garbage collector crashes when it meets a
    `PickleBuffer` of a `memoryview` in a reference cycle: it clears the `memoryview` first.
    """
    made = list(buffers)
    if not made:
        return []
    import numpy as np

    return [pickle.PickleBuffer(np.frombuffer(buffer, np.uint8)) for buffer in made]


def _load_pickler() -> None:
    from bsbpool import functions_by_value  # noqa: F401 - with cloudpickle, so not before


before_forks(_load_pickler)


def _dumps_by_value(obj: Any) -> Parcel:
    from bsbpool.functions_by_value import Pickler

    return dump_with(Pickler, obj)


def dump_with(pickler: Any, obj: Any) -> Parcel:
    """Pickle an object as `dumps` does, with a class of picklers."""
    buffers: list[memoryview] = []
    file = io.BytesIO()
    pickler(file, protocol=5, buffer_callback=buffer_collector(buffers)).dump(obj)
    return file.getvalue(), buffers
