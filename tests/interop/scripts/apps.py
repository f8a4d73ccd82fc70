"""Apps of scinexus, defined in the main script, on the pool and without it."""

# No `from __future__ import annotations`: scinexus looks at the annotations.

import itertools
import json
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy
from playing import error_of, show
from scinexus import NotCompleted, define_app, open_data_store, parallel, set_parallel_backend
from scinexus.data_store import DataMemberABC

from bsbpool.integrations.scinexus import BsbPoolBackend


@define_app(app_type="loader")
def load(member: DataMemberABC) -> dict:
    return json.loads(member.read())


@define_app
class Scale:
    def __init__(self, by: int) -> None:
        self.by = by

    def main(self, data: dict) -> dict:
        return {**data, "scaled": data["n"] * self.by}


@define_app
def nested(data: dict) -> dict:
    """Maps inside a call."""
    return {**data, "total": sum(parallel.imap(square, range(data["n"])))}


@define_app(app_type="writer")
class Save:
    def __init__(self, data_store: Any) -> None:
        self.data_store = data_store

    def main(self, data: dict, identifier: str = "") -> Any:
        write, text = self.data_store.write, json.dumps
        if isinstance(data, NotCompleted):
            write, text = self.data_store.write_not_completed, NotCompleted.to_json
        return write(unique_id=f"{identifier}.json", data=text(data))


def square(x: int) -> int:
    return x * x


def late(x: int) -> int:
    time.sleep(0.3 * (x == 0))
    return x


def fails(x: int) -> int:
    if x == 3:
        raise LookupError("three")
    return x


def seen_by(x: int) -> list[int]:
    return [os.getpid(), parallel.get_parallel_backend().get_rank()]


def stored(parallelly: bool) -> Any:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for n in range(12):
            known = {} if n == 7 else {"n": n}  # one does not get through
            text = json.dumps({"source": f"m{n}.json", **known})
            (folder / "in" / f"m{n}.json").write_text(text)
        source = open_data_store(folder / "in", suffix="json")
        target = open_data_store(folder / "out", suffix="json", mode="w")
        app = load() + Scale(by=3) + nested() + Save(target)
        app.apply_to(source, parallel=parallelly, logger=False, show_progress=False)
        done = [[member.unique_id, member.read()] for member in target.completed]
        return sorted(done), [Path(m.unique_id).name for m in target.not_completed]


def stores() -> Any:
    return stored(True) == stored(False), stored(True)


def maps() -> Any:
    return {
        "imap": list(parallel.imap(square, range(50))),
        "chunks": list(parallel.imap(square, range(50), chunksize=7)),
        "numpy": list(parallel.imap(square, range(5), chunksize=numpy.int64(2))),
        "none": list(parallel.imap(square, [])),
        "as_completed": sorted(parallel.as_completed(square, range(50))),
        "map": parallel.map(Scale(by=2), [{"n": 1}, {"n": 2}]),
        "lambda": list(backend.imap(lambda x: x + 1, range(3))),
        "backend": list(backend.imap(lambda x: list(backend.imap(square, range(x))), [3])),
    }


def streams() -> Any:
    endless = backend.imap(square, itertools.count())
    first = [next(endless) for _ in range(5)]
    endless.close()
    two = zip(backend.imap(square, range(5)), backend.imap(square, range(5)), strict=True)
    slow = backend.imap(late, iter([1, 0]))
    quick = next(slow)
    list(slow)  # a worker that is still at it would be missing in the next scene
    return first, list(two), quick


def order() -> Any:
    return next(backend.as_completed(late, range(20), chunksize=1)), list(
        backend.imap(late, range(20), chunksize=1)
    )


def errors() -> Any:
    results = backend.imap(fails, range(6))
    return [next(results) for _ in range(3)], error_of(next, results)


def asks() -> Any:
    pairs = list(backend.imap(seen_by, range(20), chunksize=1))
    return {
        "size": backend.get_size(),
        "rank": backend.get_rank(),
        "master": backend.is_master_process(),
        "here": os.getpid() in [pid for pid, _ in pairs],
        "ranks": sorted({rank for _, rank in pairs}),
    }


def checks() -> Any:
    size = backend.get_size()
    calls = {
        f"{name}={value!r}": {name: value}
        for name in ("chunksize", "max_workers")
        for value in (True, numpy.bool_(True), 1.5, "2", 0, -1)
    }
    calls["if_serial"] = {"if_serial": "no such"}
    reported = {
        label: [error_of(f, square, [1], **said) for f in (backend.imap, backend.as_completed)]
        for label, said in calls.items()
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = list(backend.imap(square, [2], max_workers=size))
        quiet = len(caught)
        results += parallel.imap(square, [3], max_workers=size + 1)
        results += parallel.map(square, [4], max_workers=size + 1)
        results += parallel.as_completed(square, [5], max_workers=size + 1)
    return reported, results, quiet, [[w.category.__name__, str(w.message)] for w in caught]


def serial() -> Any:
    reported = error_of(backend.imap, square, [1], if_serial="raise")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = list(backend.as_completed(square, [2], if_serial="WARN"))
    ignored = list(backend.imap(square, [3], if_serial="ignore"))
    return reported, results + ignored, [[w.category.__name__, str(w.message)] for w in caught]


backend = BsbPoolBackend()
for _ in range(2):  # it can be entered again
    with backend as main:
        if main is not None:
            assert main is backend
            set_parallel_backend(backend)
            show(maps, stores, streams, order, errors, asks, checks, serial)
