"""Classes, and functions with a cache, pickled so that each unpickling makes a new one."""

from __future__ import annotations

import functools
from typing import Any

import cloudpickle


def cached_by_value(function: Any) -> tuple[Any, ...]:
    """Say how to pickle a function with a cache, which is empty afterwards."""
    return _cache_again, (function.__wrapped__, function.cache_parameters())


def _cache_again(function: Any, parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def class_by_value(kind: type) -> tuple[Any, ...]:
    """Say how to pickle a class.

    cloudpickle by itself changes the class that an earlier pickle of the same class made. Bases
    that object to a subclass without attributes do not hear of it.
    """
    reduced = cloudpickle.cloudpickle._dynamic_class_reduce(kind)
    make, (*args, _, extra), (attributes, slots), *rest = reduced
    attributes.pop("__slotnames__", None)  # appears when the first instance is pickled
    if make is cloudpickle.cloudpickle._make_skeleton_class:
        make = _make_class
    return (make, (*args, None, extra), (attributes, slots), *rest)


class _Quiet:
    """Comes before bases that would look at a subclass while it is still empty."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not getattr(cls, "_bsbpool_is_empty", False):
            super().__init_subclass__(**kwargs)


def _make_class(
    kind: type, name: str, bases: tuple[type, ...], names: dict[str, Any], *rest: Any
) -> Any:
    make = cloudpickle.cloudpickle._make_skeleton_class
    try:
        return make(kind, name, bases, names, *rest)
    except Exception:
        # They have seen it where it was defined, and what they did to it comes along.
        names = {**names, "_bsbpool_is_empty": True}
        made = make(kind, name, (_Quiet, *bases), names, *rest)
        del made._bsbpool_is_empty
        return made
