"""Classes, pickled so that each unpickling makes a new one."""

from __future__ import annotations

from typing import Any

from bsbpool.by_name import is_importable
from bsbpool.classes_by_value import reduce_class


def class_by_value(pickler: Any, kind: type) -> Any:
    """Say how to pickle a class.

    cloudpickle by itself changes the class that an earlier pickle of the same class made.
    """
    reduced = reduce_class(pickler, kind, anew=True)
    if not isinstance(reduced, tuple):
        return reduced
    make, (*args, key, extra), (attributes, slots), *rest = reduced
    attributes.pop("__slotnames__", None)  # appears when the first instance is pickled
    if is_importable(kind):
        key = None  # it returns by its name, and one that is defined anew and equal is no change
    return (make, (*args, key, extra), (attributes, slots), *rest)
