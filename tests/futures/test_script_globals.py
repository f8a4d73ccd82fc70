"""The globals of a script under ``python -m bsbpool.run``; one program with many checks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from helpers.launch import environment, is_openmpi, launcher, mpirun

LIMIT = 90.0

SCRIPT = """
import dataclasses
import functools
import threading

from bsbpool.futures import PoolExecutor, as_completed
from bsbpool.services import MPI

X, data, table, big = 0, None, {}, list(range(200_000))
lock = threading.Lock()
MISSING = object()


class Model:
    scale = 1

    def __init__(self, x):
        self.x = x

    def work(self, y=0):
        return self.x * self.scale + X + y

    def never_called(self):
        return executor, lock


def helper():
    return X


def read(_):
    return helper()


def begin(value):
    global data, atlas
    data, atlas = value, X


def prepared():
    return data, atlas


def fill(key):
    table[key] = table.get(key, 0) + 1
    return MPI.get_rank(), dict(table)


def is_missing(value=MISSING):
    return value is MISSING


def size():
    return len(big)


def locked():
    return lock


class Interrupting:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts if len(self.parts) > 1 else self.parts[0]()


def raise_interrupt():
    raise KeyboardInterrupt


def factory():
    @dataclasses.dataclass
    class Made:
        x: int

    return Made, lambda x: Made(x)


Made, made_global = factory()


def section(f):
    f()
    print("done:", f.__name__)


def calls_see_changed_values():
    global X
    seen = []
    with PoolExecutor() as executor:
        for X in (10, 20, 10, 20, 30, 10):
            seen += [
                executor.submit(read, 0).result(),
                executor.submit(lambda: X).result(),
                executor.submit(functools.partial(read, 0)).result(),
                executor.submit(Model(0).work).result(),
                executor.options(name="named").submit(read, 0).result(),
                *executor.map(read, [1]),
                *executor.map(lambda _: X, [1]),
                *executor.map(read, [1], buffersize=1),
                *executor.starmap(read, [(1,)]),
                *(model for model in executor.map(Model.work, [Model(0)])),
            ]
            assert seen == [X] * 10, (X, seen)
            seen.clear()


def waiting_calls_see_values_of_their_submission():
    global X
    with PoolExecutor() as executor:
        futures, maps = {}, []
        for X in range(200):
            futures[executor.submit(read, 0)] = X
            if X % 20 == 0:
                maps.append((X, executor.map(read, range(3), buffersize=2)))
        for future in as_completed(futures):
            assert future.result() == futures[future]
        for x, results in maps:
            assert list(results) == [x] * 3
        Model.scale = 5
        early = [executor.submit(Model(1).work) for _ in range(20)]
        Model.scale = 7
        late = [executor.submit(Model(1).work) for _ in range(20)]
        assert {f.result() - X for f in early} == {5} and {f.result() - X for f in late} == {7}


def workers_keep_state_between_calls():
    global X, table, data
    X = 1
    with PoolExecutor(initializer=begin, initargs=(4,)) as executor:
        X = 2
        assert set(executor.map(lambda _: prepared(), range(20))) == {(4, 1)}
        counts = {}
        for _ in range(10):
            rank, now = executor.submit(fill, "a").result()
            counts[rank] = counts.get(rank, 0) + 1
            assert now == {"a": counts[rank]}
    with PoolExecutor() as executor:
        assert executor.submit(prepared).result() == (4, 1)
        data, table = 6, {"b": 1}
        assert executor.submit(prepared).result() == (6, 1)
        assert executor.submit(fill, "a").result()[1] == {"a": 1, "b": 1}


def errors_name_globals_that_cannot_be_pickled():
    with PoolExecutor() as executor:
        for take in (
            lambda: executor.submit(locked).result(),
            lambda: list(executor.map(lambda _: lock, [1])),
            lambda: executor.submit(Model(1).never_called).result(),
        ):
            try:
                take()
            except NameError as error:
                text = str(error)
                assert "'lock'" in text or "'executor'" in text, text
                assert "cannot pickle" in text and "initializer" in text, text
            else:
                raise AssertionError("no NameError was raised")
        assert executor.submit(size).result() == 200_000
        big.append(1)
        assert list(executor.map(lambda _: size(), [1])) == [200_001]
        assert executor.submit(is_missing).result()


def errors_name_globals_that_raise_while_pickled():
    global interrupting
    with PoolExecutor() as executor:
        for interrupting in (Interrupting(raise_interrupt), Interrupting(raise_interrupt, ())):
            for _ in range(2):
                for take in (
                    lambda: executor.submit(lambda: interrupting).result(),
                    lambda: list(executor.map(lambda _: interrupting, [1])),
                ):
                    try:
                        take()
                    except NameError as error:
                        assert "'interrupting'" in str(error) and "Interrupt" in str(error), error
                    else:
                        raise AssertionError("no NameError was raised")


def callables_have_the_state_of_their_submission():
    with PoolExecutor() as executor:
        state = [0]
        for f in (state.copy, functools.partial(list, state), lambda: state[:]):
            futures = []
            for state[0] in range(100):
                futures.append(executor.submit(f))
            assert [future.result() for future in futures] == [[n] for n in range(100)]


def local_classes_keep_their_identity():
    @dataclasses.dataclass(slots=True)
    class Local:
        x: int

    class Counter:
        count = 0

        def up(self):
            print(end="")  # so that the pickle refers to a global name, here a builtin
            Counter.count += 1
            return self

    def make(x):
        print(end="")
        return Local(x)

    def is_local(value):
        print(end="")
        return type(value) is Local

    with PoolExecutor() as executor:
        made = [executor.submit(f, 1).result() for f in (make, Local, made_global, Made)]
        assert made == [Local(1), Local(1), Made(1), Made(1)]
        assert list(executor.map(make, [1, 2])) == [Local(1), Local(2)]
        assert executor.submit(is_local, Local(1)).result()
        assert list(executor.map(is_local, [Local(1)])) == [True]
        assert type(executor.submit(Counter().up).result()) is Counter
        assert Counter.count == 0
        for Counter.count in (1, 2, 1):
            up = executor.submit(lambda: Counter().up() and Counter.count)
            assert up.result() == Counter.count + 1
            assert list(executor.map(lambda _: Counter.count, [0])) == [Counter.count]

        class Special(Model):
            pass

        special = Special(1)
        for Model.scale in (1, 2, 1):
            assert executor.submit(special.work).result() == special.work()
            assert executor.submit(Model.work, special).result() == special.work()
            assert list(executor.map(Model.work, [special])) == [special.work()]


def deleted_globals_are_removed():
    global X
    with PoolExecutor() as executor:
        assert executor.submit(read, 0).result() == X
        del X
        try:
            executor.submit(read, 0).result()
        except NameError as error:
            assert str(error) == "name 'X' is not defined", error
        else:
            raise AssertionError("no NameError was raised")


executor = PoolExecutor()
executor.shutdown()
if __name__ == "__main__":
    section(calls_see_changed_values)
    section(waiting_calls_see_values_of_their_submission)
    section(workers_keep_state_between_calls)
    section(errors_name_globals_that_cannot_be_pickled)
    section(errors_name_globals_that_raise_while_pickled)
    section(callables_have_the_state_of_their_submission)
    section(local_classes_keep_their_identity)
    section(deleted_globals_are_removed)
"""
SECTIONS = [
    "calls_see_changed_values",
    "waiting_calls_see_values_of_their_submission",
    "workers_keep_state_between_calls",
    "errors_name_globals_that_cannot_be_pickled",
    "errors_name_globals_that_raise_while_pickled",
    "callables_have_the_state_of_their_submission",
    "local_classes_keep_their_identity",
    "deleted_globals_are_removed",
]


@pytest.mark.limit(LIMIT + 10)
@pytest.mark.parametrize("ranks", [2, 4])
def test_02_calls_see_the_globals_that_the_script_had_at_their_submission(tmp_path, ranks):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = mpirun(ranks, "-m", "bsbpool.run", path, timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    assert done.stdout == "".join(f"done: {name}\n" for name in SECTIONS)


@pytest.mark.limit(LIMIT + 10)
def test_02_spawned_workers_see_the_globals_too(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("PoolExecutor(", "PoolExecutor(max_workers=2, "))
    command = [*launcher(1), sys.executable, str(path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=LIMIT)
    if is_openmpi(launcher(1)[0]) and os.geteuid() == 0 and "could not start" in done.stderr:
        return  # a thread of the script's own process runs the calls
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "".join(f"done: {name}\n" for name in SECTIONS)
