"""Closures are sent as a template and the values of their variables: as if pickled as a whole."""

from __future__ import annotations

import functools
import math
import sys
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbpool._core.protocol import scalar_codec
from bsbpool.execution.closures import MOST_TEMPLATES, Closures
from bsbpool.serialization import dumps, loads
from helpers.launch import mpirun

LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 1) | st.sampled_from("ab")
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=4,
)


def over(a, b=None):
    def closed(x=0):
        """Add."""
        return a, b, x

    return closed


def with_defaults(a, b):
    def closed(owner: Any, x: int = b, /, *more: Any, y: Any = a, **others: str) -> list[Any]:
        return [a, b, x, more, y, others]

    return closed


def counter(n, seen):
    def count(step=1):
        nonlocal n
        n += step
        seen.append(n)
        return n, list(seen), math.floor(0.5)

    return count


def nested(n):
    def outer():
        def inner():
            return n, np.arange(n).sum()

        return inner()

    return outer


MAKERS = [over, with_defaults, counter, nested]


def sent(closures, f, args=(), kwargs=None):
    """Return the function that a worker makes, None if the closure is pickled as a whole."""
    encoded = closures.encode(f, args, kwargs or {})
    if encoded is None:
        return None
    template, payload = encoded
    received = loads(*dumps(template))
    _, _, *variables = scalar_codec.loads(payload)
    return received.function_of(variables)


def describe(f):
    """Everything that a program can read from a function."""
    return {
        "code": f.__code__, "globals": id(f.__globals__), "name": f.__name__,
        "qualname": f.__qualname__, "module": f.__module__, "doc": f.__doc__,
        "annotations": list(f.__annotations__.items()), "attributes": f.__dict__,
        "defaults": repr(f.__defaults__), "keyword defaults": repr(f.__kwdefaults__),
        "cells": [repr(cell.cell_contents) for cell in f.__closure__],
    }  # fmt: skip


def test_a_closure_is_the_same_as_if_pickled_as_a_whole():
    @settings(deadline=None)
    @given(st.sampled_from(MAKERS[:2]), VALUES, VALUES)
    def check(make, a, b):
        f = make(a, b)
        made = sent(closures, f)
        if made is not None:
            assert describe(made) == describe(loads(*dumps(f))) == describe(f)
            assert made(None) == f(None)

    closures = Closures()
    check()


def test_each_call_has_cells_of_its_own():
    closures = Closures()
    count = counter(5, [1])
    first, second = sent(closures, count), sent(closures, count)
    assert first() == (6, [1, 6], 0)
    assert first(2) == (8, [1, 6, 8], 0)
    assert second() == (6, [1, 6], 0)
    assert count() == (6, [1, 6], 0)
    assert sent(closures, count)() == (7, [1, 6, 7], 0)


def test_functions_inside_of_a_closure():
    assert sent(Closures(), nested(4))() == (4, 6)


def test_annotations_of_the_functions_are_independent():
    closures = Closures()
    first, second = (sent(closures, with_defaults(1, 2)) for _ in range(2))
    first.__annotations__["x"] = "changed"
    assert second.__annotations__["x"] == "int"


def test_closures_of_one_code_have_one_template():
    closures = Closures()
    templates = {id(closures.encode(over(n), (), {})[0]) for n in range(50)}
    assert len(templates) == 1


# ------------------------------------------------------------------ pickled as a whole


def recursive():
    def f(n):
        return n and f(n - 1)

    return f


def shared_list():
    shared = []
    other = shared
    return lambda: (shared, other)


def unset():
    if len("a") > 1:
        value = 1
    return lambda: value


def with_attribute():
    f = over(1)
    f.calls = 0
    return f


def wrapped():
    @functools.wraps(over)
    def f():
        return number

    number = 1
    return f


def annotated_anew():
    number = 1

    def f():
        return number

    f.__annotations__ = {"return": list[int]}
    return f


def of_no_module():
    code = over(1).__code__
    return types.FunctionType(code, {"__name__": "nowhere"}, "f", None, over(1).__closure__)


@pytest.mark.parametrize(
    "make",
    [
        recursive, shared_list, unset, with_attribute, wrapped, annotated_anew, of_no_module,
        lambda: over(object()), lambda: over(len), lambda: over("ä"), lambda: over(range(3)),
        lambda: over(np.float64(1)), lambda: functools.partial(over(1)), lambda: over, lambda: len,
        lambda: functools.lru_cache(over(1)), lambda: functools.singledispatch(over(1)),
    ],
)  # fmt: skip
def test_other_functions_are_pickled_as_a_whole(make):
    assert Closures().encode(make(), (), {}) is None


def test_a_variable_that_is_an_argument_as_well_stays_one_object():
    items = [1]
    assert Closures().encode(over(items), (items,), {}) is None
    assert Closures().encode(over(items), ([1],), {}) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("__name__", "other"), ("__qualname__", "a.<locals>.b"), ("__module__", "elsewhere"),
        ("__doc__", "Another text."), ("__annotations__", {"x": int}), ("__defaults__", (7,)),
        ("__kwdefaults__", {"x": 5}),
    ],
)  # fmt: skip
def test_a_function_that_was_changed_is_sent_as_it_is(name, value):
    closures = Closures()
    sent(closures, over(1))
    changed = over(2)
    setattr(changed, name, value)
    assert describe(sent(closures, changed)) == describe(changed)
    assert describe(sent(closures, over(3))) == describe(over(3))


def test_functions_that_differ_too_often_are_pickled_as_a_whole():
    closures = Closures()
    for n in range(MOST_TEMPLATES):
        f = over(n)
        f.__name__ = f"name{n}"
        assert sent(closures, f).__name__ == f"name{n}"
    assert sent(closures, over(1)) is None


def test_a_function_with_a_name_is_pickled_by_name():
    f = over(1)
    f.__qualname__ = "named"
    globals()["named"] = f
    assert Closures().encode(f, (), {}) is None


# ------------------------------------------------------------------ globals of the main script


@pytest.fixture
def main_script(monkeypatch):
    """A namespace that takes the place of the main script."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(
        "def over(n):\n    return lambda: (n, scale)\n"
        "def other(n):\n    return lambda: (n, scale)\nscale = 1\n",
        module.__dict__,
    )
    return module.__dict__


def test_a_template_is_replaced_after_another_value_of_a_global_was_sent(main_script):
    """A worker may have got the other value, also if this rank has the old one again."""
    closures = Closures()
    first = closures.encode(main_script["over"](1), (), {})[0]
    assert closures.encode(main_script["over"](2), (), {})[0] is first
    main_script["scale"] = 2
    dumps(main_script["other"](1))
    main_script["scale"] = 1
    second = closures.encode(main_script["over"](1), (), {})[0]
    assert second is not first
    dumps(main_script["other"](1))
    third = closures.encode(main_script["over"](1), (), {})[0]
    assert third is not first
    dumps(main_script["other"](1))
    assert closures.encode(main_script["over"](1), (), {})[0] is third


def test_closures_over_globals_that_can_change_inside_are_pickled_as_a_whole(main_script):
    main_script["scale"] = [1]
    assert Closures().encode(main_script["over"](1), (), {}) is None


PROGRAM = """
import sys
from mpi4py import MPI
from bsbpool import create_job_pool
from bsbpool.execution import closures

if "whole" in sys.argv:
    closures.MOST_TEMPLATES = 0

scale, items, later_defined = 1, [0], None
if "undefined" in sys.argv:
    del later_defined
    if MPI.COMM_WORLD.rank:
        del scale, items


def helper(n):
    return n * scale


def by(n, step=2):
    def closed(owner):
        return helper(n), scale, step

    return closed


def with_list(n):
    return lambda owner: (n, items)


def setting(n):
    def closed(owner):
        global scale
        scale = n
        return n

    return closed


def deleting(n):
    def closed(owner):
        global scale
        del scale
        return n

    return closed


def late(n):
    def closed(owner):
        try:
            return n, later_defined
        except NameError:
            return n, "undefined"

    return closed


def other(n):
    return lambda owner: (n, scale)


def run(pool, *functions):
    last, made = [], []
    for f in functions:
        last = [pool.submit(f, deps=last)]
        made += last
    return made


with create_job_pool(quiet=True) as pool:
    if pool.is_main():
        scale = 5

        def change(number, name, value):
            def done(job):
                if value is None:
                    globals().pop(name, None)
                else:
                    globals()[name] = value

            return done

        jobs = run(
            pool, by(1), by(2), setting(8), by(3), other(1), by(4), other(2), by(5), other(3),
            deleting(0), by(6), by(7), late(1), late(2), with_list(1), with_list(2), by(8), by(9),
        )
        for number, name, value in [
            (1, "scale", 6), (4, "scale", 5), (6, "scale", 6), (7, "scale", 5),
            (12, "later_defined", "now"), (14, "items", [1]), (16, "helper", lambda n: -n),
        ]:
            jobs[number].on_completion(change(number, name, value))
    pool.execute()
    if pool.is_main():
        print("RESULTS", [job.result for job in jobs])
        entries = pool.run_context.run._closures._entries.values()
        print("TEMPLATES", sum(entry.n_templates for entry in entries))
"""


@pytest.mark.launches
@pytest.mark.limit(120)
@pytest.mark.parametrize("defined", ["defined", "undefined"])
def test_globals_of_the_main_script_are_as_if_pickled_as_a_whole(tmp_path, defined):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    lines = {}
    for how in ("templates", "whole"):
        done = mpirun(2, str(program), how, defined)
        assert done.returncode == 0, done.stdout
        lines[how] = dict(
            line.split(" ", 1) for line in done.stdout.splitlines() if line[:4] in ("RESU", "TEMP")
        )
    assert lines["templates"]["RESULTS"] == lines["whole"]["RESULTS"]
    assert int(lines["templates"]["TEMPLATES"]) > 3
    assert int(lines["whole"]["TEMPLATES"]) == 0


PARTIALS = """
import functools
from mpi4py import MPI
from bsbpool import create_job_pool

if MPI.COMM_WORLD.rank == 0:
    scale = 1
by_value = lambda n, owner: (n, scale)  # noqa: E731


def by_name(n, owner, more=0):
    return n, more


def change(job):
    global scale
    scale += 1


with create_job_pool(quiet=True) as pool:
    jobs, last = [], []
    if pool.is_main():
        for n in range(4):
            last = [pool.submit(functools.partial(by_value, n), deps=last)]
            last[0].on_completion(change)
            jobs += [*last, pool.submit(functools.partial(by_name, n), n)]
    pool.execute()
    if pool.is_main():
        print("RESULTS", [job.result for job in jobs])
"""


@pytest.mark.launches
@pytest.mark.limit(120)
def test_partials_in_the_main_script_are_sent_with_the_globals_of_the_moment(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PARTIALS)
    done = mpirun(2, str(program))
    assert done.returncode == 0, done.stdout
    expected = [pair for n in range(4) for pair in ((n, n + 1), (n, n))]
    assert f"RESULTS {expected}" in done.stdout
