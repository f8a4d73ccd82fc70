"""Arrays of many types, shapes and layouts, some large enough to be sent out of band."""

from __future__ import annotations

from typing import Any

import numpy as np

from differential.recipes import maker


def _base(n: int) -> np.ndarray[Any, Any]:
    """Make an array of one of many types and one of many shapes, some of 32 KiB and more."""
    types = ["<f8", "<i4", ">i2", "?", "<c16", "u1", "<f4", "<M8[s]", "<U3", "S4"]
    shapes = [(), (0,), (3,), (2, 3), (4096,), (64, 65), (2, 0, 2), (2, 3, 4), (5000,), (1, 1)]
    shape = shapes[n // 16 % len(shapes)]
    size = int(np.prod(shape))
    return (np.arange(n % 5, n % 5 + size) % 100).astype(types[n % len(types)]).reshape(shape)


@maker("array")
def _array(n: int, parts: list[Any]) -> Any:
    base = _base(n)
    shapes = [
        lambda: base,
        lambda: np.asfortranarray(base),
        lambda: base.T,
        lambda: base[::2] if base.ndim else base,
        lambda: base[..., ::-1] if base.ndim else base,
    ]
    return shapes[n // 7 % len(shapes)]()


@maker("fixed array")
def _fixed_array(n: int, parts: list[Any]) -> Any:
    """Make a read-only array; a copy on another rank is writable.

    So it is of a type that no function here changes.
    """
    base = _base(n - n % 10 + (3, 4, 7, 8)[n % 4])
    return _read_only(base) if n % 2 else np.broadcast_to(base, (2, *base.shape))


def _read_only(base: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    base.flags.writeable = False
    return base


@maker("special array")
def _special_array(n: int, parts: list[Any]) -> Any:
    structure = np.dtype([("a", "<i4"), ("b", "<f8", (2,)), ("c", "S3")])
    made = [
        lambda: np.zeros(3, structure),
        lambda: np.zeros(3000, structure)[::3],
        lambda: np.zeros(2, structure)["b"],
        lambda: _objects(parts or [1, "a"]),
        lambda: np.ma.masked_array([1, 2, 3], [0, 1, 0]),
        lambda: np.rec.array([(1, 2.0)], names="x,y"),
        lambda: np.array([], dtype=object),
        lambda: np.full(200_000 + n % 7, n % 100, "<f8"),
    ]
    return made[n % len(made)]()


def _objects(parts: list[Any]) -> np.ndarray[Any, Any]:
    made = np.empty(len(parts), dtype=object)
    for i, part in enumerate(parts):
        made[i] = part
    return made
