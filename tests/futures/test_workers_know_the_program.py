"""Workers under `bsbpool.run` know the search path and the main script of the program."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from bsbpool.futures.main_program import SearchPath, extend_search_path
from helpers.launch import mpirun

LIMIT = 90.0

PATHS = """
import os
import sys
from bsbpool.futures import PoolExecutor

at_first = sys.path[:]
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "first"))
from of_first import first


def shown(futures):
    return [future.result() for future in futures]


if __name__ == "__main__":
    with PoolExecutor(initializer=first, initargs=(0,)) as executor:
        assert list(executor.map(first, range(3))) == list(range(3))
        assert shown(executor.submit(abs, -n) for n in range(9)) == list(range(9))
        os.chdir(here)
        sys.path.append("second")
        from of_second import second, through_third
        assert shown(executor.submit(second, n) for n in range(9)) == list(range(9))
        os.chdir("/")
        error = executor.submit(through_third, 1).exception()
        assert type(error) is ModuleNotFoundError, error
        sys.path.append(os.path.join(here, "third"))
        # The workers know this function already, but all of them must be sent the new path.
        assert shown(executor.submit(through_third, n) for n in range(9)) == list(range(9))
        assert list(executor.map(through_third, range(9), chunksize=1)) == list(range(9))
    with PoolExecutor() as executor:
        assert shown(executor.submit(through_third, n) for n in range(9)) == list(range(9))
    sys.path[:] = at_first
    with PoolExecutor() as executor:
        sys.path.append("elsewhere")
        assert shown(executor.submit(abs, -n) for n in range(9)) == list(range(9))
        sys.path.remove("elsewhere")
        assert shown(executor.submit(abs, -n) for n in range(9)) == list(range(9))
    print("all found")
"""


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 3])
def test_a_call_sees_the_search_path_of_its_submission(tmp_path, ranks) -> None:
    for folder, text in {
        "first": "def first(x): return x",
        "second": "def second(x): return x\n"
        "def through_third(x):\n    import of_third\n    return of_third.third(x)",
        "third": "def third(x): return x",
    }.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"of_{folder}.py").write_text(text)
    (tmp_path / "program.py").write_text(PATHS)
    done = mpirun(ranks, "-m", "bsbpool.run", tmp_path / "program.py", timeout=LIMIT)
    assert (done.returncode, done.stdout) == (0, "all found\n")


def test_the_programs_search_path_comes_first(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", "lib", tmp_path])
    path = SearchPath()
    assert path.changed_folders() is None
    monkeypatch.chdir("/")
    sys.path.append("/own")
    path.update()
    sent = ["", str(tmp_path / "lib"), "/own"]
    assert path.folders == path.changed_folders() == sent
    monkeypatch.setattr("sys.path", ["/own", "/workers"])
    extend_search_path(sent)
    assert sys.path == ["", str(tmp_path / "lib"), "/own", "/workers"]


def test_a_search_path_that_returns_to_the_initial_one_is_sent(monkeypatch) -> None:
    monkeypatch.setattr("sys.path", ["/first"])
    path = SearchPath()
    path.update()
    assert path.changed_folders() is None
    sys.path.append("/second")
    path.update()
    sys.path.remove("/second")
    path.update()
    assert path.changed_folders() == ["/first"]


PROCESSES = """
import multiprocessing
from bsbpool.futures import PoolExecutor


def square(x):
    return x * x


def squares(how):
    with multiprocessing.get_context(how).Pool(2) as pool:
        return pool.map(square, range(4))


if __name__ == "__main__":
    executor = PoolExecutor()
    for how in multiprocessing.get_all_start_methods():
        assert executor.submit(squares, how).result() == [0, 1, 4, 9]
    print(__file__)
"""


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("by", ["script", "module"])
def test_multiprocessing_works_in_calls(tmp_path, by) -> None:
    (tmp_path / "processes.py").write_text(PROCESSES)
    program = ["processes.py"] if by == "script" else ["-m", "processes"]
    done = mpirun(2, "-m", "bsbpool.run", *program, timeout=LIMIT, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'processes.py'}\n")


def test_a_missing_program_ends_all_ranks() -> None:
    # The exit codes are those of the interpreter.
    for code, *program in ((2, "nothere.py"), (1, "-m", "nothere"), (1, "-m", "nothere.part")):
        done = mpirun(2, "-m", "bsbpool.run", *program, timeout=LIMIT)
        assert done.returncode == code and "nothere" in done.stdout, done.stdout


PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_logging_example_of_the_documentation_works(tmp_path, ranks) -> None:
    (example,) = re.findall(r"```python\n([^`]*logging.basicConfig.*?)```", PAGE, re.DOTALL)
    (tmp_path / "program.py").write_text(example)
    done = mpirun(ranks, "-m", "bsbpool.run", tmp_path / "program.py", timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert sum("INFO" in line and "in a call" in line for line in lines) == 3, lines
