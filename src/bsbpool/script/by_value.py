"""Classes, pickled so that each unpickling makes a new one."""

from __future__ import annotations

from typing import Any

from bsbpool.classes_by_value import reduce_class


def class_by_value(pickler: Any, kind: type) -> Any:
    """Say how to pickle a class.

    cloudpickle by itself changes the class that an earlier pickle of the same class made.
    """
    reduced = reduce_class(pickler, kind)
    if not isinstance(reduced, tuple):
        return reduced
    make, (*args, _, extra), (attributes, slots), *rest = reduced
    attributes.pop("__slotnames__", None)  # appears when the first instance is pickled
    return (make, (*args, None, extra), (attributes, slots), *rest)
