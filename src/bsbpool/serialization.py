"""Pickling of objects: functions and classes by reference if possible, by value otherwise.

A function or class that can be imported is pickled as its name. Others (lambdas, nested functions)
are pickled by value, with cloudpickle. Large buffers (arrays) are not copied into the pickle: they
are returned beside it and sent as separate parts of the message.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

from bsbpool.by_name import BOUND_TYPES, is_importable, main_is_shared, reduce_bound
from bsbpool.process import before_forks

OUT_OF_BAND = 32 * 1024
"""Minimum size in bytes of out-of-band buffers; smaller ones are copied into the pickle."""
MOST_BUFFERS = 1_000
"""Maximum number of out-of-band buffers of one object; further ones stay in the pickle."""

Parcel = tuple[bytes, list[memoryview]]


def dumps(obj: Any) -> Parcel:
    """Pickle an object.

    Returns
    -------
    payload : bytes
        The pickle.
    buffers : list of memoryview
        The out-of-band buffers, contiguous, which `loads` needs as well.

    Raises
    ------
    Exception
        Any error that pickling raises: PicklingError, TypeError, AttributeError, ...
    """
    buffers: list[memoryview] = []
    try:
        payload = pickle.dumps(obj, 5, buffer_callback=buffer_collector(buffers))
        if b"getattr" in payload:  # bound methods, whose names pickle does not check
            payload, buffers = dump_with(_ByName, obj)
    except (pickle.PicklingError, AttributeError, TypeError):
        # A function or class cannot be imported. Only such objects are pickled a second time.
        return _dumps_by_value(obj)
    return payload, buffers


class _ByName(pickle.Pickler):
    """The pickler of `pickle`, which pickles bound methods by `reduce_bound`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dispatch_table = copyreg.dispatch_table | dict.fromkeys(BOUND_TYPES, reduce_bound)


def loads(payload: Any, buffers: Sequence[Any] = ()) -> Any:
    """Load an object from the pickle and the buffers that `dumps` returned."""
    return pickle.loads(payload, buffers=buffers)


def copies_of(buffers: Iterable[Any]) -> list[bytearray]:
    """Copy the buffers of a pickle, as sending them would."""
    return [bytearray(buffer) for buffer in buffers]


def dumps_function(function: Any) -> Parcel:
    """Pickle a function or class that jobs call."""
    return dumps(portable(function))


def is_pickled_by_name(obj: Any) -> bool:
    """Whether a function or class is pickled as a name that the other ranks can import."""
    if not main_is_shared() and getattr(obj, "__module__", None) == "__main__":
        return False
    return is_importable(obj)


def portable(function: Any) -> Any:
    """Return the object to pickle for a function or class; it unpickles as `function`.

    Definitions of ``__main__`` are pickled by name and by value: the other ranks run the same
    script, but may not have executed the definition yet.
    """
    if getattr(function, "__module__", None) == "__main__" and main_is_shared():
        from bsbpool.functions_by_value import MainDefinition

        if is_importable(function):
            return MainDefinition(function)
    return function


def buffer_collector(buffers: list[memoryview]) -> Any:
    """Return a `buffer_callback` for picklers that appends large buffers to a list."""

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
    """Wrap the buffers of a pickle, so that another pickle can have them out of band.

    The `PickleBuffer` refers to a NumPy array, not to the `memoryview`: CPython's garbage collector
    crashes on a `PickleBuffer` of a `memoryview` in a reference cycle, since it clears the
    `memoryview` first.
    """
    made = list(buffers)
    if not made:
        return []
    import numpy as np

    arrays: list[Any] = [np.frombuffer(buffer, np.uint8) for buffer in made]
    return list(map(pickle.PickleBuffer, arrays))


def _load_pickler() -> None:
    from bsbpool import functions_by_value  # noqa: F401 - imports cloudpickle, which is slow


before_forks(_load_pickler)


def _dumps_by_value(obj: Any) -> Parcel:
    from bsbpool.functions_by_value import Pickler

    return dump_with(Pickler, obj)


def dump_with(pickler: Any, obj: Any) -> Parcel:
    """Pickle an object with an instance of the class `pickler`; return the same as `dumps`."""
    buffers: list[memoryview] = []
    file = io.BytesIO()
    pickler(file, protocol=5, buffer_callback=buffer_collector(buffers)).dump(obj)
    return file.getvalue(), buffers
