"""Callables with state, and objects that are sent by value."""

from __future__ import annotations

import pytest

from bsbpool.futures import PoolExecutor
from helpers.callables import CHECKS
from helpers.launch import mpirun

LIMIT = 60.0


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_in_one_process(check) -> None:
    with PoolExecutor() as executor:
        assert executor is not None
        check(executor)


PROGRAM = '''
"""A script whose classes and functions must work in the same way on the workers."""
import dataclasses
import functools
import math

from bsbpool import pool_cache, pool_cached_function
from bsbpool.futures import PoolExecutor
from decorating import counted


@dataclasses.dataclass(slots=True)
class Data:
    x: int

    def up(self):
        return Data(self.x + 1)


class Slotted:
    __slots__ = ("x", "__hidden")

    def __init__(self, x):
        self.x = self.__hidden = x

    def content(self):
        return self.x, self.__hidden

    def __private(self, y):
        return Slotted(y)

    def private(self):
        return self.__private

    by_lambda = lambda self, y: (self.x, y)


class Cached:
    def __init__(self, x):
        self.x = x

    @functools.lru_cache(maxsize=None)
    def method(self, y):
        return self.x + y

    @staticmethod
    @functools.cache
    def static(y):
        return y, "static"

    @classmethod
    @functools.cache
    def of_class(cls, y):
        return cls.__name__, y

    @functools.cached_property
    def once(self):
        return self.x, "once"

    @functools.singledispatchmethod
    def told(self, arg):
        return "anything"

    @told.register
    def _(self, arg: int):
        return "int", self.x


class Node:
    def __init__(self, name):
        self.name = name

    def get_node_name(self):
        return self.name

    @pool_cache
    def density(self, n):
        return self.name, n, object()


@pool_cached_function
def atlas(n=2):
    return [atlas_of(k) for k in range(n)], object()


def atlas_of(k):
    return math.sqrt(k)


@pool_cached_function
def recursive(n):
    return n and recursive(n - 1) + 1


@functools.singledispatch
def show(arg):
    return "anything"


@show.register
def _(arg: int):
    return "int"


@show.register(list)
def _(arg):
    return [show(part) for part in arg]


@counted
def decorated(x):
    return atlas_of(x)


def use(x):
    c = Cached(x)
    return (c.method(1), c.static(2), c.of_class(3), c.once, c.told(1), c.told("x"),
            Cached.static.cache_info().currsize > 0)


def use_atlas(n):
    values, mark = atlas(n)
    return values, id(mark), mark is atlas(n)[1]


def fail(x):
    return 1 / x  # this very line


def main():
    with PoolExecutor() as executor:
        for kind, made in ((Data, executor.submit(Data, 3)), (Slotted, executor.submit(Slotted, 3)),
                           (Data, executor.submit(Data(2).up)),
                           (Slotted, executor.submit(Slotted(1).private(), 3))):
            made = made.result()
            assert type(made) is kind and made.x == 3 and not hasattr(made, "__dict__")
        assert executor.submit(Slotted, 3).result().content() == (3, 3)
        assert executor.submit(Slotted(5).content).result() == (5, 5)
        assert list(executor.map(Slotted(5).by_lambda, range(3))) == [(5, 0), (5, 1), (5, 2)]
        assert list(executor.map(Cached(5).method, range(3))) == [5, 6, 7]
        wanted = use(4)
        assert executor.submit(use, 4).result() == wanted
        assert list(executor.map(use, [4] * 5, chunksize=2)) == [wanted] * 5

        cached = executor.options(cache_items=[atlas])
        used = [future.result() for future in [cached.submit(use_atlas, 3) for _ in range(30)]]
        used += cached.map(use_atlas, [3] * 10, chunksize=5)
        assert {tuple(values) for values, _, _ in used} == {tuple(map(math.sqrt, range(3)))}
        assert all(same for _, _, same in used)
        assert executor.submit(atlas).result()[0] == [0.0, 1.0]
        assert executor.submit(lambda: atlas(1)[0]).result() == [0.0]
        assert executor.submit(recursive, 5).result() == 5
        assert executor.submit(Node("a").density, 3).result()[:2] == ("a", 3)
        assert [d[:2] for d in executor.map(Node("b").density, [1, 2])] == [("b", 1), ("b", 2)]
        assert executor.submit(show, [1, "x", [2]]).result() == ["int", "anything", ["int"]]
        assert executor.submit(decorated, 4).result()[1] == 2.0
        assert [value for _, value in executor.map(decorated, [4, 9])] == [2.0, 3.0]

        for failing in (fail, lambda x: 1 / x  # this very line
                        ):
            for future in (executor.submit(failing, 0), executor.submit(list, map(fail, [0]))):
                cause = future.exception().__cause__
                text = cause.text
                assert "ScriptCall" not in str(cause), cause
                assert "# this very line" in text and "program.py" in text, text
        try:
            list(executor.map(fail, [0]))
        except ZeroDivisionError as error:
            assert "# this very line" in error.__cause__.text
    print("all as it was")


if __name__ == "__main__":
    main()
'''
DECORATING = """
import functools
import threading

LOCK = threading.Lock()  # a global that cannot be pickled


def counted(function):
    n = 0

    @functools.wraps(function)
    def wrapper(*args):
        nonlocal n
        with LOCK:
            n += 1
        return n, function(*args)

    return wrapper
"""


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 3])
def test_in_a_script_under_bsbpool_run(tmp_path, ranks) -> None:
    (tmp_path / "decorating.py").write_text(DECORATING)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = mpirun(ranks, "-m", "bsbpool.run", tmp_path / "program.py", timeout=LIMIT)
    assert (done.returncode, done.stdout) == (0, "all as it was\n"), done.stdout


ON_RANK_0 = """
import dataclasses, functools
from mpi4py import MPI
from bsbpool import pool_cached_function
from bsbpool.futures import PoolExecutor

if MPI.COMM_WORLD.rank == 0:
    STEP = 4

    def decorate(f):
        @functools.wraps(f)
        def wrapper(*args):
            return f(*args)
        return wrapper

    @dataclasses.dataclass(slots=True)
    class Data:
        x: int

    class Cached:
        @functools.cache
        def method(self, y):
            return y + STEP

        def __call__(self):
            return self.method(3)

    @functools.lru_cache
    def cached(x):
        return x + STEP

    @pool_cached_function
    def atlas(n):
        return list(range(n + STEP))

    @decorate
    def decorated(x):
        return x + STEP

with PoolExecutor() as executor:
    if executor is not None:
        calls = [(Data, 3), (lambda: Data(3),), (lambda: Cached()(),), (Cached(),),
                 (Cached().method, 3), (cached, 3), (atlas, -2), (lambda: atlas(-2),),
                 (decorated, 3)]
        print([executor.submit(*call).result() for call in calls])
        print(list(executor.map(Data, [1])), list(executor.map(decorated, [1, 2])))
"""


@pytest.mark.limit(LIMIT + 30)
def test_in_a_script_that_defines_them_on_rank_0_only(tmp_path) -> None:
    (tmp_path / "program.py").write_text(ON_RANK_0)
    done = mpirun(2, tmp_path / "program.py", timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [
        "[Data(x=3), Data(x=3), 7, 7, 7, 7, [0, 1], [0, 1], 7]",
        "[Data(x=1)] [5, 6]",
    ]
