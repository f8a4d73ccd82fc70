"""Pickling of classes such that each unpickling makes a new class."""

from __future__ import annotations

from typing import Any

from bsbpool.by_name import is_importable
from bsbpool.classes_by_value import reduce_class


def class_by_value(pickler: Any, kind: type) -> Any:
    """Return the reduced value of a class.

    With cloudpickle alone, unpickling would change the class that an earlier pickle made.
    """
    reduced = reduce_class(pickler, kind, anew=True)
    if not isinstance(reduced, tuple):
        return reduced
    make, (*args, key, extra), (attributes, slots), *rest = reduced
    attributes.pop("__slotnames__", None)  # set when the first instance is pickled
    if is_importable(kind):
        key = None  # sent back by name; and an equal definition must give an equal pickle
    return (make, (*args, key, extra), (attributes, slots), *rest)
