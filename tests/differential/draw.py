"""Draw values, callables and errors from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from differential.callables import CALLABLES, STATEFUL
from differential.errors import ERRORS
from differential.functions import FUNCTIONS, chain, throw
from differential.recipes import V

PLAIN = ("none", "bool", "int", "int", "float", "str", "bytes")
NESTED = ("tuple", "list", "dict", "record", "record", "container", "object", "local", "ring")
SINGLE = ("constant", "set", "array", "array", "fixed array", "special array")
BAD = ("unpicklable", "bomb")

CELLS = (
    V("list", 0, (V("int", 1), V("int", 2))),
    V("dict", 0, (V("int", 1), V("str", 2))),
    V("record", 1, (V("int", 1),)),
    V("set", 4),
    V("container", 48),
    V("object", 0),
    V("object", 1),
    V("machine", 3),
    V("local", 1),
    *(V("array", n) for n in (0, 50, 51, 150, 200, 250, 300)),
)
"""Kinds of mutable values: lists, dicts, objects, arrays below and above 32 KiB."""
RAISING = tuple(n for n, f in enumerate(FUNCTIONS) if f in (throw, chain))


class Draw:
    """Draws parts of a program.

    Parameters
    ----------
    r : Random
        The source of random numbers.
    bad : float
        The probability of a value that cannot be pickled.
    """

    def __init__(self, r: Random, bad: float = 0.0) -> None:
        self.r = r
        self.bad = bad
        self.cells = tuple(r.choice(CELLS) for _ in range(r.choice((0, 1, 2, 4))))
        # Callables that are used repeatedly, over cells that change meanwhile.
        self.kept = range(len(self.cells), len(self.cells) + r.choice((0, 0, 1, 2)))
        for _ in self.kept:
            inside = (V("cell", r.randrange(len(self.cells))),) if self.cells else ()
            self.cells += (V(r.choice(STATEFUL), self.number(), inside),)

    def number(self) -> int:
        """Draw the number that chooses among the values of a kind."""
        return self.r.randrange(400)

    def values(self, most: int, depth: int = 2) -> tuple[V, ...]:
        """Draw some values."""
        return tuple(self.value(depth) for _ in range(self.r.randrange(most + 1)))

    def plain_values(self, most: int) -> tuple[V, ...]:
        """Draw some values that need no pickler if they are small."""
        kinds = (*PLAIN, "record")
        return tuple(
            V(self.r.choice(kinds), self.number()) for _ in range(self.r.randrange(most + 1))
        )

    def value(self, depth: int = 2) -> V:
        """Draw a value."""
        r = self.r
        chance = r.random()
        if r.random() < self.bad:
            return V(r.choice(BAD), self.number())
        if len(self.cells) > len(self.kept) and chance < 0.15:
            return V("cell", r.randrange(len(self.cells) - len(self.kept)))
        if chance < 0.5 or depth == 0:
            return V(r.choice(PLAIN), self.number())
        if chance < 0.7:
            return V(r.choice(SINGLE), self.number())
        if chance < 0.75:
            return self.callable(depth - 1)
        if chance < 0.78:
            return V("error value", self.number(), self.values(2, depth - 1))
        return V(r.choice(NESTED), self.number(), self.values(3, depth - 1))

    def callable(self, depth: int = 1) -> V:
        """Draw a callable."""
        if self.kept and self.cells and self.r.random() < 0.3:
            return V("cell", self.r.choice(self.kept))
        kind = self.r.choice(CALLABLES)
        inside = self.values(2, depth) if kind not in ("function", "builtin") else ()
        if kind in ("closure", "lambda", "partial") and self.r.random() < 0.6:
            inside = self.plain_values(2)
        if kind == "partial" and self.r.random() < 0.8:
            inside = (self.callable(0), *inside)
        return V(kind, self.number(), inside)

    def error(self, depth: int = 1) -> V:
        """Draw an error."""
        return V(self.r.choice(ERRORS), self.number(), self.values(2, depth))

    def call(self) -> tuple[V, tuple[V, ...], tuple[tuple[str, V], ...]]:
        """Draw a function with its arguments."""
        r = self.r
        if r.random() < 0.15:
            raised = V("to raise", r.randrange(3000))
            return V("function", r.choice(RAISING)), (*self.values(2), raised), ()
        if r.random() < 0.1:  # functions of equal code, which workers keep
            closure = V("closure", r.choice((self.number(), 5, 6)), self.plain_values(1))
            return closure, self.plain_values(2), ()
        f = V("function", r.randrange(len(FUNCTIONS))) if r.random() < 0.4 else self.callable()
        simple = f.kind in ("cell", "builtin method") and r.random() < 0.7
        args = self.values(1, 0) if simple else self.values(3)
        if r.random() < 0.4:
            args = self.plain_values(3)
        names: Sequence[str] = r.choice(((), (), (), ("word",), ("a", "b"), ("depth",)))
        if simple:
            names = ()
        return f, args, tuple((name, self.value()) for name in names)

    def change(self) -> tuple[int, int] | None:
        """Draw a cell and a change of it."""
        if not self.cells:
            return None
        return self.r.randrange(len(self.cells)), self.number()
