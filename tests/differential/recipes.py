"""Values as data: a recipe describes how to build a value, as often as needed.

The oracle needs the value at one moment repeatedly, without copying or
pickling. So values that change are *cells*: a recipe and a list of changes; a cell is rebuilt by
building the recipe and applying the changes again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class V:
    """A value: `kind` names its maker, `n` chooses among its values, `parts` are its parts."""

    kind: str = "none"
    n: int = 0
    parts: tuple[V, ...] = ()


Maker = Callable[[int, list[Any]], Any]
MAKERS: dict[str, Maker] = {}


def maker(kind: str) -> Callable[[Maker], Maker]:
    """Register the function that makes values of a kind from `n` and the built parts."""

    def register(make: Maker) -> Maker:
        MAKERS[kind] = make
        return make

    return register


def cells_in(value: V) -> set[int]:
    """Return the numbers of the cells that a value contains."""
    if value.kind == "cell":
        return {value.n}
    return set().union(*map(cells_in, value.parts)) if value.parts else set()


def kinds_in(value: V) -> set[str]:
    """Return the kinds of a value and of all its parts."""
    return {value.kind}.union(*map(kinds_in, value.parts))


class Builder:
    """Builds values; a cell that occurs twice is one object.

    Parameters
    ----------
    cells : sequence of V
        The initial recipes of the cells.
    changes : sequence of (int, int)
        The changes so far: the cell and the number of the change.
    """

    def __init__(self, cells: Sequence[V], changes: Sequence[tuple[int, int]] = ()) -> None:
        self._cells = cells
        self._changes = changes
        self._built: dict[int, Any] = {}

    def build(self, value: V) -> Any:
        """Build a value."""
        if value.kind == "cell":
            return self.cell(value.n)
        return MAKERS[value.kind](value.n, [self.build(part) for part in value.parts])

    def cell(self, number: int) -> Any:
        """Return the object of a cell."""
        if number not in self._built:
            # A program that is being shrunk may lack cells or contain a cell inside itself.
            self._built[number] = []
            known = number < len(self._cells)
            self._built[number] = self.build(self._cells[number]) if known else []
            for cell, n in self._changes:
                if cell == number:
                    change(self._built[number], n)
        return self._built[number]

    def change(self, cell: int, n: int) -> None:
        """Change the object of a cell."""
        change(self.cell(cell), n)


def change(obj: Any, n: int) -> bool:
    """Change an object in a way that `n` chooses; return whether it is mutable."""
    import numpy as np

    if isinstance(obj, list):
        obj.append(n) if n % 3 or not obj else obj.pop()
    elif isinstance(obj, dict):
        obj[n % 5] = n
    elif isinstance(obj, set):
        obj.symmetric_difference_update({n % 7})
    elif isinstance(obj, bytearray):
        obj.append(n % 256)
    elif isinstance(obj, np.ndarray):
        if obj.dtype.kind not in "iuf" or not obj.flags.writeable or not obj.size:
            return False
        obj[(0,) * obj.ndim] += 1 + n % 3
    elif hasattr(obj, "changes"):
        obj.changes += 1
    else:
        return False
    return True
