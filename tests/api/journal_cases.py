"""Arguments and functions that have keys, as names and values; all of them make different jobs."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import math
import operator
import pathlib
import random
import re
import sys
import uuid
from typing import Any, NamedTuple


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None

    @functools.cached_property
    def double(self) -> int:
        return 2 * self.x


class Pair(NamedTuple):
    x: int
    y: int


class Triple(collections.namedtuple("Triple", "x")):
    pass


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.IntFlag):
    A = 1


class Token(enum.Enum):
    NONE = object()


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __bsbpool_key__(self) -> Any:
        return self.name

    def method(self, owner: Any) -> str:
        return self.name


def adder(n: Any) -> Any:
    def add(owner: Any, x: Any) -> Any:
        return x + n

    return add


def counter() -> Any:
    def down(owner: Any, n: int) -> int:
        return down(owner, n - 1) if n else 0

    return down


def with_default(owner: Any, x: int = 3, *, y: int = 4) -> int:
    return x + y


@functools.cache
def cached(x: int) -> int:
    return x


WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]


def builtin_cases() -> dict[str, Any]:
    return {
        "none": None, "true": True, "false": False, "one": 1, "minus one": -1, "1.0": 1.0,
        "large": 2**63, "larger": -(2**200), "nan": math.nan, "zero": 0.0, "minus zero": -0.0,
        "text": "a", "no text": "", "surrogate": "\ud800", "bytes": b"a", "no bytes": b"",
        "tuple": (), "list": [], "nested": [(), []], "nested list": [[], ()], "pair": (1, 2),
        "split": ("ab", "c"), "split otherwise": ("a", "bc"), "list of pair": [1, 2],
        "dict": {}, "words": dict.fromkeys(WORDS, 1), "words to lists": {w: [w] for w in WORDS},
        "set": set(WORDS), "frozenset": frozenset(WORDS), "empty set": set(),
        "set of tuples": {(w, frozenset(WORDS)) for w in WORDS},
        "complex": 1j, "range": range(3), "slice": slice(1, 2), "ellipsis": ...,
        "bytearray": bytearray(b"a"), "memoryview": memoryview(b"a"),
        "array": array.array("i", [1, 2]), "decimal": decimal.Decimal("1.0"),
        "fraction": fractions.Fraction(1, 2), "date": datetime.date(2024, 1, 2),
        "datetime": datetime.datetime(2024, 1, 2),
        "utc": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
        "timedelta": datetime.timedelta(1), "uuid": uuid.UUID(int=1),
        "path": pathlib.PurePosixPath("/a/b"), "pattern": re.compile("a", re.IGNORECASE),
        "random": random.Random(1), "ordered": collections.OrderedDict.fromkeys(WORDS),
        "defaultdict": collections.defaultdict(list, {"a": [1]}),
        "counter": collections.Counter(WORDS), "deque": collections.deque([1], 3),
        "point": Point(1), "point of set": Point(1, set(WORDS)), "named tuple": Pair(1, 2),
        "red": Colour.RED, "blue": Colour.BLUE, "low": Level.LOW, "8": Flags(8),
        "16": Flags(16), "token": Token.NONE, "triple": Triple(1),
        "zone": datetime.timezone(datetime.timedelta(hours=1), "X"),
        "other zone": datetime.timezone(datetime.timedelta(hours=2), "X"), "named": Named("n"),
        "namespace": __import__("types").SimpleNamespace(a=1), "module": math,
    }  # fmt: skip


def function_cases() -> dict[str, Any]:
    return {
        "function": adder, "lambda": lambda owner: 1, "other lambda": lambda owner: 2,
        "lambda of set": lambda owner, x: x in {"alpha", "beta", "gamma"},
        "closure": adder(1), "other closure": adder(2), "closure of set": adder(set(WORDS)),
        "recursive": counter(), "defaults": with_default, "cached": cached,
        "partial": functools.partial(with_default, x=1), "builtin": len, "ufunc": operator.add,
        "method": Named("a").method, "method of another": Named("b").method, "class": Named,
        "descriptor": str.upper, "bound builtin": "a".join,
    }  # fmt: skip


def array_cases() -> dict[str, Any]:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return {}
    grid = numpy.arange(12.0).reshape(3, 4)
    return {
        "grid": grid, "flat": grid.ravel(), "transposed": grid.T, "float32": grid.astype("f4"),
        "big-endian": grid.astype(">f8"), "scalar": numpy.float64(1), "int64": numpy.int64(1),
        "strings": numpy.array(WORDS), "objects": numpy.array([{"a"}, None], object),
        "fields": numpy.zeros(2, [("a", "i4"), ("b", "f8")]), "dtype": numpy.dtype("f4"),
        "subarray": numpy.dtype(("i4", (2,))), "longer": numpy.dtype(("i4", (4,))),
        "void": numpy.dtype("V8"), "add": numpy.add, "generator": numpy.random.default_rng(1),
        "masked": numpy.ma.masked_less(grid, 3),
    }  # fmt: skip


def frame_cases() -> dict[str, Any]:
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return {}
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    times = pandas.DatetimeIndex(["2024-01-02", "2024-01-03"])
    return {
        "frame": frame, "renamed": frame.rename(columns={"a": "c"}), "series": frame["a"],
        "named columns": frame.rename_axis(columns="u"), "named rows": frame.rename_axis("u"),
        "rows and columns": frame.set_index(["a", "b"]), "empty": frame.iloc[:0],
        "reindexed": frame.set_index("b"), "index": pandas.Index([1, 2], name="i"),
        "timestamp": pandas.Timestamp("2024-01-02"), "NaT": pandas.NaT, "NA": pandas.NA,
        "period": pandas.Period("2024", "Y"), "interval": pandas.Interval(0, 1),
        "times": frame.set_index(times), "times in UTC": frame.set_index(times.tz_localize("UTC")),
        **{
            f"column {dtype} {values}": pandas.Series(values, dtype=dtype)
            for dtype, values in [
                (object, [1, 2]), (object, ["1", "2"]), (object, [1.0, 2.0]), ("Int64", [1, 2]),
                (object, ["a", None]), (object, ["a", math.nan]), (object, ["a", pandas.NA]),
                ("Int64", [1, None]), ("string", ["a", None]), ("category", ["a", "b"]),
            ]
        },
        **{
            f"categories {categories} {ordered}": pandas.Series(
                pandas.Categorical(["a", "b"], categories=categories, ordered=ordered), name="c"
            )
            for categories in (["a", "b"], ["b", "a"], ["a", "b", "c"])
            for ordered in (False, True)
        },
    }  # fmt: skip


def digests() -> dict[str, str]:
    """Return the digests of all cases, by name."""
    from bsbpool.journal import stable_digest

    cases = builtin_cases() | function_cases() | array_cases() | frame_cases()
    return {name: stable_digest(value) for name, value in cases.items()}


if __name__ == "__main__":
    import contextlib
    import importlib
    import json

    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    import api.journal_cases  # under the name that it has in the tests

    json.dump(api.journal_cases.digests(), sys.stdout)
