"""Runs that leave in time: deadlines, signals of batch systems, exit codes."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import time

import pytest

from bsbpool import JobStatus, LeftInTime, create_job_pool
from bsbpool.leaving import EXIT_CODE
from bsbpool.leaving.deadlines import MARGIN, end_of, process_start
from helpers.launch import environment, launcher, start, stop


def sleep(owner, seconds):
    time.sleep(seconds)
    return seconds


def spin(owner, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


# ------------------------------------------------------------------ the settings


def test_deadlines_are_seconds_times_or_those_of_batch_systems() -> None:
    now = time.time()
    assert end_of(60) == pytest.approx(now + 60, abs=5)
    utc = datetime.datetime(2031, 1, 2, 3, 4, tzinfo=datetime.UTC)
    assert end_of(utc) == utc.timestamp()
    local = datetime.datetime(2031, 1, 2, 3, 4)
    assert end_of(local) == time.mktime((2031, 1, 2, 3, 4, 0, 0, 0, -1))
    assert end_of("slurm", {"SLURM_JOB_END_TIME": "1900000000"}) == 1_900_000_000 - MARGIN
    assert end_of("pbs", {"PBS_WALLTIME": "3600"}) == pytest.approx(
        process_start() + 3600 - MARGIN, abs=1
    )
    assert now - 3_000 < process_start() < now


@pytest.mark.parametrize(
    ("deadline", "error", "texts"),
    [
        (0, ValueError, ["deadline", "0"]),
        (-1, ValueError, ["deadline", "-1"]),
        (True, TypeError, ["deadline", "True", "'slurm'"]),
        ([], TypeError, ["deadline", "[]", "datetime"]),
        ("lsf", ValueError, ["deadline", "'lsf'", "'pbs'"]),
        ("slurm", ValueError, ["SLURM_JOB_END_TIME", "''", "squeue"]),
        ("pbs", ValueError, ["PBS_WALLTIME", "''", "export"]),
    ],
)
def test_other_deadlines_are_refused(deadline, error, texts, monkeypatch) -> None:
    for name in ("SLURM_JOB_END_TIME", "PBS_WALLTIME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(error) as raised:
        create_job_pool(quiet=True, deadline=deadline)
    assert [text for text in texts if text not in str(raised.value)] == []


def test_a_bad_grace_is_refused() -> None:
    with pytest.raises(ValueError, match=r"grace must be at least 0, got -1"):
        create_job_pool(quiet=True, grace=-1)


# ------------------------------------------------------------------ with one process


def test_a_run_that_ends_in_time_is_as_without_a_deadline() -> None:
    with create_job_pool(quiet=True, deadline=60) as pool:
        job = pool.queue(sleep, (0.01,))
        results = pool.execute(return_results=True)
        assert results == {job: 0.01}


def test_a_job_that_runs_at_the_deadline_is_interrupted_and_others_are_left() -> None:
    with create_job_pool(quiet=True, deadline=0.5) as pool:
        quick = pool.queue(sleep, (0.01,))
        endless = pool.queue(spin, (60,))
        never = pool.queue(sleep, (0.02,))
        with pytest.raises(LeftInTime, match="deadline is reached: 2 of 3 jobs are left") as left:
            pool.execute()
        assert left.value.code == EXIT_CODE == 75
        assert left.value.n_left == 2
        assert [job.status for job in (quick, endless, never)] == [
            JobStatus.SUCCESS, JobStatus.ABORTED, JobStatus.CANCELLED,
        ]  # fmt: skip
        assert quick.result == 0.01
        assert "its deadline is reached" in str(endless.error)


def test_jobs_that_cannot_end_in_time_are_not_started() -> None:
    """After the first job of a kind its run time is known."""
    with create_job_pool(quiet=True, deadline=3) as pool:
        first = pool.queue(sleep, (2.0,))
        long = [pool.queue(sleep, (2.0,)) for _ in range(3)]
        short = [pool.queue(spin, (0.0,)) for _ in range(3)]
        with pytest.raises(LeftInTime, match="3 of 7 jobs are left"):
            pool.execute()
        assert first.status is JobStatus.SUCCESS
        assert {job.status for job in short} == {JobStatus.SUCCESS}
        assert {job.status for job in long} == {JobStatus.CANCELLED}
        assert "could not end in time" in str(long[0].error)


def test_jobs_that_depend_on_one_that_is_left_are_left() -> None:
    with create_job_pool(quiet=True, deadline=0.3) as pool:
        endless = pool.queue(spin, (60,))
        later = pool.queue(sleep, (0,), deps=[endless])
        with pytest.raises(LeftInTime, match="2 of 2"):
            pool.execute()
        assert later.status is JobStatus.CANCELLED


def test_a_timeout_before_the_deadline_is_a_timeout() -> None:
    with create_job_pool(quiet=True, deadline=60) as pool:
        pool.queue(spin, (60,))
        with pytest.raises(TimeoutError, match=r"0\.2 s"):
            pool.execute(timeout=0.2)


SIGNAL = """
import os, signal, sys, time

sys.modules["mpi4py"] = None  # MPICH handles SIGUSR1
from bsbpool import JobStatus, create_job_pool

number = int(sys.argv[1])

def send_signal(owner):
    os.kill(os.getpid(), number)
    time.sleep(0.1)
    return "ended"

def sleep(owner):
    time.sleep(60)

with create_job_pool(quiet=True, grace=30) as pool:
    job = pool.queue(send_signal)
    others = [pool.queue(sleep) for _ in range(3)]
    try:
        pool.execute(timeout=20)
    finally:
        assert job.result == "ended"
        assert {job.status for job in others} == {JobStatus.CANCELLED}
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        print(sys.exc_info()[1])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_lets_the_running_job_end(number, tmp_path) -> None:
    (tmp_path / "program.py").write_text(SIGNAL)
    command = [sys.executable, tmp_path / "program.py", str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode == EXIT_CODE, done.stderr
    assert f"{number.name} was received: 3 of 4 jobs are left" in done.stdout


BETWEEN_RUNS = """
import os, signal
from bsbpool import create_job_pool

def nothing(owner):
    pass

for phase in range(2):
    with create_job_pool(quiet=True, grace=30) as pool:
        pool.queue(nothing)
        pool.execute()
    print("phase", phase, flush=True)
    os.kill(os.getpid(), signal.SIGUSR2)
"""


def test_a_signal_between_two_runs_ends_the_next_one(tmp_path) -> None:
    (tmp_path / "program.py").write_text(BETWEEN_RUNS)
    command = [sys.executable, tmp_path / "program.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert (done.returncode, done.stdout) == (EXIT_CODE, "phase 0\n"), done.stderr


def test_a_second_signal_ends_the_run_at_once() -> None:
    def send_two(owner):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        spin(None, 60)

    with create_job_pool(quiet=True, grace=600) as pool:
        job = pool.queue(send_two)
        with pytest.raises(LeftInTime):
            pool.execute(timeout=30)
        assert job.status is JobStatus.ABORTED


def test_the_job_that_runs_is_interrupted_after_the_grace_period() -> None:
    def endless(owner):
        os.kill(os.getpid(), signal.SIGTERM)
        spin(None, 60)

    with create_job_pool(quiet=True, grace=0.2) as pool:
        job = pool.queue(endless)
        with pytest.raises(LeftInTime):
            pool.execute(timeout=30)
        assert job.status is JobStatus.ABORTED


# ------------------------------------------------------------------ with several ranks

PROGRAM = """
import os, signal, sys, time
from bsbpool import create_job_pool

how = sys.argv[1]

def work(owner, seconds):
    time.sleep(seconds)

def signal_parent(owner, main):
    os.kill(main, signal.SIGTERM)
    time.sleep(0.2)
    return "ended"

settings = {"deadline": 2.0} if how == "deadline" else {"grace": 3}
if how == "main_works":
    settings["main_works"] = True
with create_job_pool(quiet=True, **settings) as pool:
    if pool.is_main():
        if how != "deadline":
            first = pool.queue(signal_parent, (os.getpid(),))
        jobs = [pool.queue(work, (60,)) for _ in range(10)]
    try:
        pool.execute()
    finally:
        if pool.is_main():
            if how != "deadline":
                assert first.result == "ended"
            counts = {status.name: n for status, n in pool.counts.items() if n}
            sys.stdout.write(f"counts {counts}\\n")
            sys.stdout.flush()
"""


@pytest.mark.parametrize("how", ["deadline", "signal", "main_works"])
def test_all_ranks_leave_with_the_exit_code(how, tmp_path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [*launcher(3), sys.executable, tmp_path / "program.py", how]
    process = start(list(map(str, command)), cwd=tmp_path, env=environment())
    try:
        text, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        stop(process)
        raise
    assert process.returncode == EXIT_CODE, text
    assert "Traceback" not in text, text
    assert "counts {" in text and "'CANCELLED'" in text, text
