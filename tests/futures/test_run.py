"""`python -m bsbpool.run` runs a program with the other ranks as its workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.launch import environment, is_openmpi, launcher, mpirun

LIMIT = 60.0

PROGRAM = '''
"""A program whose globals are hard to send: state, and classes and functions in cycles."""
import functools
import sys
import threading
import time

from beside import triple
from bsbpool.futures import PoolExecutor

STATE = None
STEP = 3


class Point:
    made = 0

    def __init__(self, x):
        self.x = x

    def up(self):
        return Point(self.x + STEP)


REGISTRY = {"point": Point}


def from_registry(x):
    return REGISTRY["point"](x)


def begin(value):
    global STATE
    STATE = value


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n > 0 and even(n - 1)


def read(x):
    return STATE, x


@functools.lru_cache(maxsize=4)
def cached(x):
    return triple(x)


def ask_cached(x):
    return cached(x), cached.cache_info().hits


def read_by_another(x):
    return read(x)


def main():
    global STEP
    with PoolExecutor(initializer=begin, initargs=(7,)) as executor:
        print("workers", executor.num_workers)
        assert list(executor.map(read_by_another, range(3))) == [(7, 0), (7, 1), (7, 2)]
        assert executor.submit(even, 10).result() and not executor.submit(odd, 10).result()
        assert executor.submit(cached, 2).result() == executor.submit(triple, 2).result() == 6
        assert [executor.submit(ask_cached, 5).result()[0] for _ in range(3)] == [15] * 3
        # Workers have a separate cache; a thread shares the cache of the script.
        assert cached.cache_info().misses == (0 if executor._service.get_size() > 1 else 2)
        for make in (Point(1).up, lambda: Point(4), lambda: from_registry(4)):
            made = executor.submit(make).result()
            assert type(made) is Point and made.x == 4
    STEP = 10
    executor = PoolExecutor()
    assert executor.submit(read, 1).result() == (7, 1)  # the worker keeps its cached value
    assert executor.submit(Point(1).up).result().x == 11
    try:
        PoolExecutor().submit(read, 1)
    except RuntimeError as error:
        assert "shut it down" in str(error)
    else:
        assert executor.num_workers == 1
    executor.submit(time.sleep, 0.2).add_done_callback(lambda future: print("waited for"))
    print("arguments", sys.argv[1:], __name__)
    exec(sys.argv[1])


if __name__ == "__main__":
    main()
'''


@pytest.fixture
def program(tmp_path):
    (tmp_path / "beside.py").write_text("def triple(x): return 3 * x")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_program_finds_its_workers(program, ranks) -> None:
    done = mpirun(ranks, "-m", "bsbpool.run", program, "pass", "x", timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    assert f"workers {max(ranks - 1, 1)}" in done.stdout
    assert "arguments ['pass', 'x'] __main__" in done.stdout
    assert "waited for" in done.stdout


@pytest.mark.limit(LIMIT + 30)
def test_it_runs_without_any_launcher(program) -> None:
    done = mpirun(1, program, "pass", timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    assert "workers 1" in done.stdout and "waited for" in done.stdout


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(
    ("end", "code", "output"),
    [
        ("sys.exit(5)", 5, "workers"),
        ("sys.exit('a reason')", 1, "a reason"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
        ("executor.submit(time.sleep, 0.3); sys.exit(6)", 6, "workers"),
    ],
)
def test_all_ranks_end_with_its_exit_code(program, ranks, end, code, output) -> None:
    done = mpirun(ranks, "-m", "bsbpool.run", program, end, timeout=LIMIT)
    # MPICH's mpiexec takes exit codes above 128 as signals, kills the other ranks, and combines
    # the numbers of both signals. Without mpiexec, Python ends with SIGINT.
    assert done.returncode == code or (code > 128 and done.returncode != 0), done.stdout
    assert output in done.stdout
    assert "bsbpool/run.py" not in done.stdout  # the traceback only has frames of the program


@pytest.mark.limit(LIMIT + 30)
def test_a_long_call_does_not_block_the_end_of_the_program() -> None:
    code = (
        "import sys, time\n"
        "from bsbpool.futures import PoolExecutor\n"
        "executor = PoolExecutor()\n"
        "future = executor.submit(time.sleep, 50)\n"
        "while not future.running(): time.sleep(0.01)\n"
        "sys.exit(9)"
    )
    began = time.monotonic()
    done = mpirun(2, "-m", "bsbpool.run", "-c", code, timeout=LIMIT)
    assert done.returncode == 9, done.stdout
    assert time.monotonic() - began < 30


CLOSE = "import sys; sys.stdout.close()"
NONE = "import sys; sys.stdout = None"
LATE = """
def begin():
    threading.main_thread().join(0.3)
    assert PoolExecutor().submit(abs, -2).result() == 2
    print("served", file=sys.stderr)
threading.Thread(target=begin).start()
"""
TOO_LATE = """
def begin():
    try: PoolExecutor().submit(abs, -2)
    except RuntimeError as error: print(error, file=sys.stderr)
import atexit; atexit.register(begin)
"""


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("end", [CLOSE, NONE, LATE, TOO_LATE], ids=["close", "none", "late", "too"])
def test_all_ranks_end_with_open_executors(program, end) -> None:
    done = mpirun(3, "-m", "bsbpool.run", program, end, timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    output = {LATE: "served", TOO_LATE: "The program has ended"}.get(end, "")
    assert output in done.stdout


@pytest.mark.limit(LIMIT + 30)
def test_functions_of_the_script_work_in_one_process(program) -> None:
    end = (
        "from mpi4py import MPI\n"
        "before = Point, cached\n"
        "with PoolExecutor(MPI.COMM_SELF) as alone:\n"
        "    assert type(alone.submit(Point(1).up).result()) is Point\n"
        "    assert alone.submit(ask_cached, 7).result()[0] == 21\n"
        "assert (Point, cached) == before and cached.cache_info().misses == 1"
    )
    done = mpirun(2, "-m", "bsbpool.run", program, end, timeout=LIMIT)
    assert done.returncode == 0, done.stdout


@pytest.mark.limit(LIMIT + 30)
def test_collective_calls_do_not_wait_for_workers() -> None:
    code = (
        "from mpi4py import MPI\n"
        "from bsbpool import create_job_pool, services\n"
        "from bsbpool.futures import PoolExecutor\n"
        "services.MPI.barrier()\n"
        "assert services.MPI.allgather(5) == [5]\n"
        "def refused(make):\n"
        "    try: make()\n"
        "    except RuntimeError as error: return 'under bsbpool.run' in str(error)\n"
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as heard, create_job_pool(quiet=True) as pool:\n"
        "    job = pool.submit(lambda owner: services.MPI.get_rank())\n"
        "    assert pool.is_main() and pool.execute(return_results=True) == {job: 0}\n"
        "assert 'Under bsbpool.run' in str(heard[0].message) and heard[0].filename == '<string>'\n"
        "part = MPI.COMM_WORLD.Create_group(MPI.COMM_WORLD.group.Incl([0]))\n"
        "assert PoolExecutor(part).submit(pow, 2, 3).result() == 8\n"
        "assert refused(PoolExecutor(root=1).__enter__)\n"
        "with PoolExecutor(MPI.COMM_WORLD) as executor:\n"
        "    assert executor.num_workers == 2\n"
        "    assert list(executor.map(pow, [2, 3], [2, 2])) == [4, 9]\n"
        "print('all warned')\n"
    )
    done = mpirun(3, "-m", "bsbpool.run", "-c", code, timeout=LIMIT)
    assert done.returncode == 0 and "all warned" in done.stdout, done.stdout


@pytest.mark.limit(LIMIT + 30)
def test_a_module_can_be_run(tmp_path) -> None:
    package = tmp_path / "some_program"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("def twice(x):\n    return 2 * x\n")
    (package / "__main__.py").write_text(
        "from bsbpool.futures import PoolExecutor\n"
        "from .other import twice\n"
        "def main():\n"
        "    with PoolExecutor() as executor:\n"
        "        print(list(executor.map(twice, range(3))), __package__)\n"
        "main()\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = mpirun(
        2, "-m", "bsbpool.run", "-m", "some_program",
        timeout=LIMIT, cwd=tmp_path, env={"PYTHONPATH": path},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[0, 2, 4] some_program\n")


@pytest.mark.limit(LIMIT + 30)
def test_usage_without_a_program() -> None:
    done = mpirun(1, "-m", "bsbpool.run", timeout=LIMIT)
    assert done.returncode == 2 and "usage" in done.stdout
    assert mpirun(1, "-m", "bsbpool.run", "--help", timeout=LIMIT).returncode == 0


SPAWNING = """
import os, sys, time
from bsbpool.futures import PoolExecutor

class Box:
    def __init__(self, content):
        self.content = content

def where(n):
    time.sleep(0.01)
    return Box(os.getpid())

if __name__ == "__main__":
    for _ in range(2):
        with PoolExecutor(max_workers=2) as executor:
            found = {box.content for box in executor.map(where, range(40), chunksize=1)}
            print(executor.num_workers, len(found), os.getpid() in found)
    sys.exit(3)
"""


@pytest.mark.limit(LIMIT + 30)
def test_local_workers_can_be_spawned(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SPAWNING)
    command = [*launcher(1), sys.executable, str(program)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout == "2 2 False\n" * 2


@pytest.mark.limit(LIMIT + 30)
def test_local_workers_can_be_spawned_without_a_launcher(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SPAWNING)
    done = mpirun(1, program, timeout=LIMIT)
    assert done.returncode == 3, done.stdout
    if is_openmpi(launcher(1)[0]) and os.geteuid() == 0:
        # The daemon of Open MPI refuses to run as root, so a thread runs the calls, with a warning.
        assert "could not start them" in done.stdout and "1 1 True" in done.stdout
    else:
        assert done.stdout == "2 2 False\n" * 2


PAGE = (Path(__file__).parents[2] / "docs" / "futures.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 3])
def test_the_examples_of_the_page_run(ranks) -> None:
    assert len(EXAMPLES) == 3
    outputs = []
    for example in EXAMPLES:
        done = mpirun(ranks, "-c", example, timeout=LIMIT)
        assert done.returncode == 0, done.stdout
        outputs.append(done.stdout.splitlines())
    maps = ["[0, 10, 20, 30]", "[0, 100, 200, 300]"]
    assert outputs == [maps, ["9"], ["32 urgent 1", "too slow"]]


@pytest.mark.limit(LIMIT + 30)
def test_an_mpi_for_one_thread_is_refused() -> None:
    code = (
        "import mpi4py; mpi4py.rc.thread_level = 'funneled'\n"
        "from bsbpool.futures import PoolExecutor\n"
        "try:\n    PoolExecutor().__enter__()\n"
        "except RuntimeError as error:\n    print(error)"
    )
    done = mpirun(2, "-c", code, timeout=LIMIT)
    assert done.stdout.count("thread_level") == 2, done.stdout


ASLEEP = """
import os, signal, sys, threading, time
from bsbpool.futures import PoolExecutor

with PoolExecutor() as executor:
    if executor is not None:
        future = executor.submit(time.sleep, 1)
        while not future.running():
            time.sleep(0.01)
        threading.Timer(0.1, os.kill, (os.getpid(), getattr(signal, sys.argv[1]))).start()
        try:
            future.result()
        except BaseException as error:
            print(type(error).__name__)
            raise
if executor is not None:
    raise AssertionError("nobody was told")
"""


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize(
    ("signal", "error"), [("SIGINT", "KeyboardInterrupt"), ("SIGTERM", "Terminated")]
)
def test_signals_end_the_block(signal, error) -> None:
    done = mpirun(3, "-c", ASLEEP, signal, timeout=LIMIT)
    assert done.returncode != 0
    assert error in done.stdout and "AssertionError" not in done.stdout, done.stdout
