"""Arguments and results of jobs: values of many kinds."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from differential.recipes import maker


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


class Point(NamedTuple):
    x: Any
    y: Any = 2


@dataclass
class Box:
    content: Any = None
    changes: int = 0
    more: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Slim:
    content: Any = None
    changes: int = 0


class Slots:
    """Has slots and a `__dict__`, and no methods for pickling."""

    __slots__ = ("__dict__", "changes", "content")

    def __init__(self, content: Any) -> None:
        self.content = content
        self.changes = 0
        self.extra = "extra"


class Weird(list[Any]):
    """A list with an attribute; its `repr` and `==` raise."""

    changes = 0

    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("no equality")

    __hash__ = None  # type: ignore[assignment]


class Sentinel:
    """A singleton on every rank."""

    def __reduce__(self) -> str:
        return "SENTINEL"


SENTINEL = Sentinel()


class Bomb:
    """Raises when it is pickled or unpickled."""

    def __init__(self, error: BaseException, when: str) -> None:
        self.error, self.when = error, when

    def __reduce__(self) -> Any:
        if self.when == "pickled":
            raise self.error
        return explode, (type(self.error), self.error.args)


def explode(kind: type[BaseException], args: tuple[Any, ...]) -> None:
    raise kind(*args)


def local_classes() -> list[type]:
    """Make classes that have no importable name."""

    class Local:
        shared = 5

        def __init__(self, content: Any) -> None:
            self.content = content
            self.changes = 0

        def double(self) -> Any:
            return [self.content, self.content]

    class LocalSlots:
        __slots__ = ("changes", "content")

        def __init__(self, content: Any) -> None:
            self.content = content
            self.changes = 0

    @dataclass
    class LocalData:
        content: Any
        changes: int = 0

    @dataclass(slots=True)
    class LocalSlim:
        content: Any
        changes: int = 0

    @dataclass(frozen=True, slots=True)
    class LocalFrozen:
        content: Any

    return [Local, LocalSlots, LocalData, LocalSlim, LocalFrozen]


LOCAL_CLASSES = local_classes()

INTS = [
    0, 1, -1, 2, 127, 128, 255, 256, -128, -129, 65535, 65536, 2**31 - 1, 2**31, -(2**31),
    -(2**31) - 1, 2**32, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 2**70, 2**2039, 2**2040,
    -(2**9999), 10**6000,
]  # fmt: skip
FLOATS = [0.0, -0.0, 1.5, -1e308, 5e-324, float("inf"), -float("inf"), float("nan"), 0.1, 1e16]
STRINGS = [
    "", "a", "abc", "a" * 255, "a" * 256, "b" * 5000, "ä", "日本", "\0", "\ud800", "🙂" * 70,
    "x\ny", "__main__", "c" * 40_000,
]  # fmt: skip
BYTES = [b"", b"a", b"\xff\0", b"a" * 255, b"a" * 256, b"b" * 5000, b"c" * 40_000, b"__main__"]


@maker("none")
def _none(n: int, parts: list[Any]) -> Any:
    return None


@maker("bool")
def _bool(n: int, parts: list[Any]) -> Any:
    return bool(n % 2)


@maker("int")
def _int(n: int, parts: list[Any]) -> Any:
    return INTS[n % len(INTS)]


@maker("float")
def _float(n: int, parts: list[Any]) -> Any:
    return FLOATS[n % len(FLOATS)]


@maker("str")
def _str(n: int, parts: list[Any]) -> Any:
    return STRINGS[n % len(STRINGS)]


@maker("bytes")
def _bytes(n: int, parts: list[Any]) -> Any:
    return BYTES[n % len(BYTES)]


@maker("constant")
def _constant(n: int, parts: list[Any]) -> Any:
    constants = [
        Ellipsis, NotImplemented, SENTINEL, Color.RED, Color.BLUE, int, Box, np.float64, range(3),
        slice(1, None, 2), fractions.Fraction(1, 3), decimal.Decimal("NaN"), decimal.Decimal("0.1"),
        datetime.date(2026, 1, 2), datetime.timedelta(0, 3), pathlib.PurePosixPath("/a/b"),
        uuid.UUID(int=7), complex(1, -0.0), frozenset((1,)), np.float32(1.5), np.int8(-3),
        np.datetime64("2026-01-01"), np.bool_(True), np.str_("s"), ValueError, True, type(None),
    ]  # fmt: skip
    return constants[n % len(constants)]


@maker("tuple")
def _tuple(n: int, parts: list[Any]) -> Any:
    return tuple(parts)


@maker("list")
def _list(n: int, parts: list[Any]) -> Any:
    return list(parts)


@maker("ring")
def _ring(n: int, parts: list[Any]) -> Any:
    """Make a list that contains itself."""
    ring: list[Any] = list(parts)
    ring.insert(n % (len(ring) + 1), {"ring": ring} if n % 2 else ring)
    return ring


@maker("dict")
def _dict(n: int, parts: list[Any]) -> Any:
    keys: list[Any] = ["a", 1, None, (1, "x"), "b", 2.5, b"k", Color.RED, -1, frozenset((1,))]
    return {keys[(n + i) % len(keys)]: part for i, part in enumerate(parts)}


@maker("record")
def _record(n: int, parts: list[Any]) -> Any:
    """Make small containers of plain values, some of which contain an object twice."""
    fields = {f"field{i}": part for i, part in enumerate(parts)}
    made = [
        lambda: {"n": n, "rate": 0.5, "mode": "b", **fields},
        lambda: [n, fields, tuple(parts)],
        lambda: {"first": fields, "second": [fields] if n % 2 else [dict(fields)]},
        lambda: {"weights": np.arange(n % 20 + 1.0), "names": [f"a{i}" for i in range(n % 4)]},
        lambda: ({"nested": {"more": [{}, [], parts]}}, n),
    ]
    return made[n % len(made)]()


@maker("set")
def _set(n: int, parts: list[Any]) -> Any:
    # Small numbers, whose order is the same in all processes: functions may return the order.
    made = {(n * 3 + i) % 7 for i in range(n % 5)}
    return made if n % 3 else frozenset(made)


@maker("container")
def _container(n: int, parts: list[Any]) -> Any:
    first = parts[0] if parts else n
    made = [
        lambda: bytearray(b"b" * (n % 300)),
        lambda: collections.deque(parts, maxlen=5),
        lambda: collections.OrderedDict((str(i), part) for i, part in enumerate(parts)),
        lambda: collections.defaultdict(list, {"k": first}),
        lambda: collections.Counter("abca"),
        lambda: array.array("d", [1.0, n]),
        lambda: Point(first, n),
        lambda: Point(parts),
    ]
    return made[n % len(made)]()


@maker("object")
def _object(n: int, parts: list[Any]) -> Any:
    """Make an instance of a class that every rank can import."""
    content = parts[0] if parts else n
    weird = Weird([content])
    weird.attribute = n  # type: ignore[attr-defined]
    return [Box(content), Slim(content), Slots(content), weird, Box(n, more=parts)][n % 5]


@maker("local")
def _local(n: int, parts: list[Any]) -> Any:
    """Make an instance of a class that is pickled by value."""
    return LOCAL_CLASSES[n % len(LOCAL_CLASSES)](parts[0] if parts else n)


@maker("unpicklable")
def _unpicklable(n: int, parts: list[Any]) -> Any:
    made = [lambda: (i for i in range(3)), threading.Lock, threading.RLock]
    return made[n % 3]()


@maker("bomb")
def _bomb(n: int, parts: list[Any]) -> Any:
    kinds = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError]
    when = "unpickled" if n % 2 else "pickled"
    return Bomb(kinds[n // 2 % len(kinds)](f"bomb {n}"), when)
