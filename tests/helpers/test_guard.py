"""The guard of the tests under mpiexec: whatever a rank does, the run ends and says why."""

from __future__ import annotations

import re
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from helpers.launch import TESTS, find_mpiexec, mpirun

pytestmark = [
    pytest.mark.limit(150),
    pytest.mark.skipif(find_mpiexec() is None, reason="needs mpiexec"),
]

HEAD = """
import os, time
import pytest
from mpi4py import MPI

comm = MPI.COMM_WORLD
pytestmark = pytest.mark.mpi
"""


class Ended:
    """How a run of pytest on several ranks ended."""

    def __init__(self, done: subprocess.CompletedProcess[str], seconds: float) -> None:
        self.code, self.text, self.seconds = done.returncode, done.stdout, seconds

    def __contains__(self, text: str) -> bool:
        return text in self.text

    def stacks(self) -> dict[int, str]:
        """Return the stacks that were printed, by rank."""
        parts = re.split(r"==== stacks of rank (\d+) ====", self.text)
        return {int(n): text for n, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.fixture
def pytest_on(tmp_path: Path):
    """Return ``pytest_on(n, tests, *options)``, which runs pytest on `n` ranks."""

    def pytest_on(n: int, tests: str, *options: str) -> Ended:
        file = tmp_path / "test_it.py"
        file.write_text(HEAD + textwrap.dedent(tests))
        began = time.monotonic()
        done = mpirun(
            n, "-m", "pytest", "--with-mpi", "-p", "helpers.mpi_guard", "-p", "no:cacheprovider",
            "--color=no", "-c", "/dev/null", "--rootdir", tmp_path, *options, file,
            timeout=120, cwd=tmp_path, env={"PYTHONPATH": str(TESTS)},
        )  # fmt: skip
        return Ended(done, time.monotonic() - began)

    return pytest_on


def test_all_is_well(pytest_on) -> None:
    run = pytest_on(3, "def test_it(): comm.barrier()\ndef test_other(): pass")
    assert run.code == 0
    assert run.text.count("2 passed") == 1  # one report, of rank 0


@pytest.mark.parametrize("bad", [0, 2])
def test_a_failing_rank_fails_the_test_for_all(pytest_on, bad: int) -> None:
    run = pytest_on(
        3,
        f"""
        def test_it():
            assert comm.rank != {bad}, "I am the bad one"
        def test_after(): comm.barrier()
        """,
    )
    assert run.code != 0
    assert f"==== rank {bad}: test_it.py::test_it (call) failed ====" in run
    assert "I am the bad one" in run
    assert run.text.count("1 failed, 1 passed") == 1


def test_a_rank_fails_while_the_others_wait_for_it(pytest_on) -> None:
    run = pytest_on(
        3,
        """
        def test_it():
            assert comm.rank != 1, "I am the bad one"
            comm.recv(source=1)
        """,
    )
    assert run.code != 0
    assert run.seconds < 60
    assert "I am the bad one" in run
    assert "rank 0, rank 2 still had not ended it" in run
    assert "in test_it" in run.stacks()[0] and "in test_it" in run.stacks()[2]


def test_a_fixture_fails_on_one_rank(pytest_on) -> None:
    run = pytest_on(
        2,
        """
        @pytest.fixture
        def fixture():
            if comm.rank == 1: raise OSError("no fixture")
            yield
        def test_it(fixture): comm.recv(source=1)
        def test_after(): comm.barrier()
        """,
    )
    assert run.code != 0
    assert "no fixture" in run
    assert "1 passed, 1 error" in run


def test_a_rank_that_skips_makes_all_skip(pytest_on) -> None:
    run = pytest_on(
        2,
        """
        def test_it():
            if comm.rank == 1: pytest.skip("not here")
        """,
        "-rs",
    )
    assert run.code == 0
    assert "1 skipped" in run and "not here" in run


def test_a_hanging_rank_ends_at_the_limit(pytest_on) -> None:
    run = pytest_on(
        3,
        """
        @pytest.mark.limit(2)
        def test_it():
            if comm.rank == 2: comm.recv(source=0)
        """,
    )
    assert run.code != 0
    assert run.seconds < 60
    assert "rank 0 ends the run: test_it.py::test_it takes more than 2 s" in run
    assert sorted(run.stacks()) == [0, 1, 2]
    assert "in test_it" in run.stacks()[2] and "in _exchange" in run.stacks()[1]


def test_all_ranks_hang(pytest_on) -> None:
    run = pytest_on(2, "@pytest.mark.limit(2)\ndef test_it(): comm.recv()")
    assert run.code != 0
    assert "in test_it" in run.stacks()[0] and "in test_it" in run.stacks()[1]


def test_a_rank_that_hangs_in_c_and_keeps_the_interpreter_for_itself(pytest_on) -> None:
    run = pytest_on(
        2,
        """
        import ctypes

        @pytest.mark.limit(2)
        def test_it():
            if comm.rank == 0: ctypes.PyDLL(None).sleep(100)
        """,
    )
    assert run.code != 0
    assert run.seconds < 60
    assert "rank 1 ends the run" in run
    assert "in test_it" in run.stacks()[0]


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), 11)", "os.abort()"])
def test_a_rank_that_dies(pytest_on, how: str) -> None:
    run = pytest_on(
        3,
        f"""
        def test_it():
            if comm.rank == 1: {how}
            comm.recv(source=1)
        """,
    )
    assert run.code != 0
    assert run.seconds < 60
    assert "passed" not in run.text


def test_ranks_that_collect_different_tests(pytest_on) -> None:
    run = pytest_on(
        2,
        """
        if comm.rank == 1:
            def test_it(): comm.barrier()
        def test_other(): comm.barrier()
        """,
    )
    assert run.code != 0
    assert "did not collect the same tests: 1 tests, 0 errors, 2 tests, 0 errors" in run


def test_without_mpiexec_tests_for_it_are_deselected_and_with_it_all_others(
    pytest_on, tmp_path: Path
) -> None:
    (tmp_path / "test_serial.py").write_text("def test_serial(): pass")
    run = pytest_on(2, "def test_it(): comm.barrier()", str(tmp_path / "test_serial.py"))
    assert (run.code, "1 passed, 1 deselected" in run) == (0, True)
    done = mpirun(
        1, "-m", "pytest", "-p", "helpers.mpi_guard", "-p", "no:cacheprovider", "--color=no",
        "-c", "/dev/null", tmp_path, cwd=tmp_path, env={"PYTHONPATH": str(TESTS)},
    )  # fmt: skip
    assert (done.returncode, "1 passed, 1 deselected" in done.stdout) == (0, True)


def test_a_serial_test_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "test_serial.py").write_text(
        "import pytest, time\n@pytest.mark.limit(1)\ndef test_serial(): time.sleep(100)"
    )
    done = mpirun(
        1, "-m", "pytest", "-p", "helpers.mpi_guard", "-p", "no:cacheprovider", "-c", "/dev/null",
        tmp_path, cwd=tmp_path, env={"PYTHONPATH": str(TESTS)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "in test_serial" in done.stdout
