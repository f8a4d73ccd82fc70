"""However a run ends, all ranks leave it soon and the program ends."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers.launch import environment, is_openmpi, launcher, mpirun

SCRIPT = Path(__file__).parent / "scripts" / "ends.py"
SOON = 2.0
"""Seconds within which a rank must have left the run."""
LIMIT = 25.0
"""Time limit of the program in seconds; the long job takes longer."""

MAIN_RAISES = {
    "sys_exit": "WorkflowError",
    "keyboard_interrupt": "WorkflowError",
    "fail_fast": "WorkflowError",
    "listener": "InterruptedError",
    "sigint": "KeyboardInterrupt",
    "sigterm": "Terminated",
    "timeout": "JobPoolTimeoutError",
    "between": "ZeroDivisionError",
    "leaves": "JobPoolError",
}
BUSY = {"fail_fast", "listener"}
"""Ends that do not interrupt the job of a rank."""
INTERRUPTS = ["sigint", "sigterm", "timeout"]


class End(NamedTuple):
    """The events that the ranks reported."""

    code: int
    text: str

    @property
    def cause(self) -> float:
        """The time of the event that ends the run."""
        return float(re.search(r"cause ([\d.]+)", self.text)[1])

    @property
    def out(self) -> dict[int, tuple[float, str]]:
        """The time at which each rank left the run, and its error."""
        found = re.findall(r"out (\d+) ([\d.]+) (\w+)", self.text)
        return {int(rank): (float(when), kind) for rank, when, kind in found}

    @property
    def in_time(self) -> list[int]:
        """The ranks that left soon after the event."""
        return [rank for rank, (when, _) in self.out.items() if when - self.cause < SOON]


def run(*how: str) -> End:
    done = mpirun(3, SCRIPT, *how, timeout=LIMIT)
    return End(done.returncode, done.stdout)


@pytest.mark.limit(2 * LIMIT + 30)
@pytest.mark.parametrize(
    "how", [*((how,) for how in MAIN_RAISES), *((how, "stuck") for how in INTERRUPTS)], ids=" ".join
)
def test_all_ranks_are_out_soon(how: tuple[str, ...]) -> None:
    end = run(*how)
    # Main does not wait for a rank inside a long job; the launcher ends it with main.
    stays = how[0] in BUSY or "stuck" in how
    wanted = 2 if stays else 3
    if len(end.in_time) < wanted:
        end = run(*how)  # once more, since other load may have delayed the first run
    assert end.code != 0, end.text
    assert end.out[0][1] == MAIN_RAISES[how[0]], end.text
    assert len(end.in_time) >= wanted, end.text
    assert ("still inside a job" in end.text) == stays, end.text


@pytest.mark.limit(2 * LIMIT + 30)
def test_a_signal_for_all_ranks_ends_them() -> None:
    """As batch systems send it; a rank inside a job does not finish the job."""
    end = run("sigterm_all")
    assert end.code != 0
    for when, kind in end.out.values():
        assert when - end.cause < SOON
        assert kind in ("Terminated", "JobPoolError", "WorkflowError"), end.text
    assert end.out, end.text  # the launcher may be quicker with those that have not left yet


@pytest.mark.limit(2 * LIMIT + 30)
@pytest.mark.parametrize("how", ["segfault", "abort", "stack"])
def test_a_rank_that_a_fault_kills_names_its_job(how: str) -> None:
    end = run(how)
    signal = "SIGABRT" if how == "abort" else "SIGSEGV"
    assert end.code != 0
    assert re.search(
        rf"bsbpool: rank [12] died of {signal}; the last job that it started is job 0 'do'\n",
        end.text,
    ), end.text


@pytest.mark.limit(2 * LIMIT + 30)
@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_rank_that_is_killed_ends_the_program(how: str) -> None:
    """Without fault tolerance in MPI; main reports the cause if the launcher gives it the time."""
    names = re.compile(r"rank [12] died while it ran .*the culprit")
    end = run(how)
    assert end.code != 0, end.text
    if is_openmpi(launcher(3)[0]):
        # The launcher sometimes drops the last output of the ranks.
        assert names.search(end.text) or names.search(run(how).text), end.text


def test_faulthandler_still_prints_its_report(tmp_path: Path) -> None:
    env = {"PYTHONFAULTHANDLER": "1"}
    done = mpirun(3, SCRIPT, "segfault", timeout=LIMIT, env=env)
    assert "died of SIGSEGV" in done.stdout
    assert "Fatal Python error: Segmentation fault" in done.stdout


def test_sigterm_ends_a_serial_run() -> None:
    script = (
        "import os, signal, threading, time\n"
        "from bsbpool import create_job_pool\n"
        "with create_job_pool(quiet=True) as pool:\n"
        "    pool.submit(lambda owner: time.sleep(30))\n"
        "    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "    try:\n"
        "        pool.execute()\n"
        "    finally:\n"
        "        print('cleaned up', pool.jobs[0].status.name, flush=True)\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT,
        env=environment(),
    )  # fmt: skip
    assert time.monotonic() - began < 10
    assert (done.returncode, done.stdout, done.stderr) == (143, "cleaned up ABORTED\n", "")


def test_the_users_own_handler_is_kept() -> None:
    script = (
        "import os, signal\n"
        "from bsbpool import create_job_pool\n"
        "seen = []\n"
        "signal.signal(signal.SIGTERM, lambda *args: seen.append(args[0]))\n"
        "with create_job_pool(quiet=True) as pool:\n"
        "    pool.submit(lambda owner: os.kill(os.getpid(), signal.SIGTERM))\n"
        "    pool.execute()\n"
        "assert seen == [15]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT,
        env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_fault_in_a_forked_child_does_not_end_the_rank() -> None:
    """The child process is a fork of the rank and must not act as the rank."""
    # In a fork, Open MPI's own fault handler does not return.
    ways, codes = ((0,), [-15]) if is_openmpi(launcher(2)[0]) else ((0, 30), [-15, -11])
    script = (
        "import ctypes, multiprocessing, time\n"
        "from bsbpool import create_job_pool\n"
        "fork = multiprocessing.get_context('fork')\n"
        "def end(how, begun):\n"
        "    begun.set()\n"
        "    time.sleep(30 - how)\n"
        "    ctypes.string_at(0)\n"
        "def job(owner, how):\n"
        "    begun = fork.Event()\n"
        "    child = fork.Process(target=end, args=(how, begun))\n"
        "    child.start()\n"
        "    if not how:\n"
        "        begun.wait()\n"
        "        child.terminate()\n"
        "    child.join()\n"
        "    return child.exitcode\n"
        "with create_job_pool(quiet=True) as pool:\n"
        f"    jobs = [pool.submit(job, how) for how in {ways}] if pool.is_main() else []\n"
        "    pool.execute()\n"
        "    if jobs:\n"
        "        wakeup = pool.run_context.run._channel.wakeup\n"
        "        print([job.result for job in jobs], wakeup.signal_of(1))\n"
    )
    done = mpirun(2, "-c", script, timeout=LIMIT)
    assert f"{codes} 0" in done.stdout, done.stdout
    assert "died of" not in done.stdout


PARTING = """
import sys
from bsbpool import create_job_pool, services
def run():
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(lambda owner: 5) for _ in range(10)] if pool.is_main() else []
        pool.execute()
        assert all(job.result == 5 for job in jobs)
run()
if services.MPI.get_rank() == int(sys.argv[1]):
    raise InterruptedError("it ends before the others")
run()
sys.stdout.write(f"through {services.MPI.get_rank()}\\n")
"""


@pytest.mark.limit(2 * LIMIT + 30)
@pytest.mark.parametrize(("n", "who"), [(2, 0), (2, 1), (3, 0), (3, 1)])
def test_main_does_not_wait_for_a_rank_whose_program_has_ended(
    n: int, who: int, tmp_path: Path
) -> None:
    script = tmp_path / "parting.py"
    script.write_text(PARTING)
    done = mpirun(n, script, who, timeout=LIMIT)
    assert done.returncode == 1 and "InterruptedError" in done.stdout, done.stdout
    through = set(re.findall(r"through (\d)", done.stdout))
    if (n, who) == (3, 1):  # a worker is left
        assert through == {"0", "2"}, done.stdout
    elif who == 0:  # which prints its error; the others print one line each
        assert not through and "WorkerLostError" not in done.stdout, done.stdout
        for rank in range(1, n):
            line = f"bsbpool: rank {rank} stops: rank 0, which schedules the jobs, has died.\n"
            assert done.stdout.count(line) == 1, done.stdout
    else:
        assert not through and "WorkerLostError" in done.stdout, done.stdout
