"""Runs that leave in time: deadlines, signals of batch systems, exit codes."""

from __future__ import annotations

import contextlib
import datetime
import functools
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from bsbpool import JobCancelledError, JobStatus, LeftInTime, create_job_pool
from bsbpool.leaving import EXIT_CODE
from bsbpool.leaving.deadlines import MARGIN, end_of, process_start
from bsbpool.leaving.limit import LeavingLimit
from bsbpool.leaving.rules import LeavingRules
from bsbpool.leaving.run_times import RunTimes, estimate
from bsbpool.leaving.signals import forget
from bsbpool.process import running
from bsbpool.time_limit import TimeLimitReached
from helpers.launch import environment, launcher, start, stop


def sleep(owner, seconds):
    time.sleep(seconds)
    return seconds


def divide(owner, a, b):
    return a / b


def spin(owner, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@pytest.fixture(autouse=True)
def no_signal_received():
    """Forget signals, and that a run has left, after each test."""
    yield
    forget()
    running.abort_code = 1


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
    with create_job_pool(quiet=True, deadline=600) as pool:
        job = pool.queue(sleep, (0.01,))
        results = pool.execute(return_results=True)
        assert results == {job: 0.01}


def test_a_job_that_runs_at_the_deadline_is_interrupted_and_others_are_left(caplog) -> None:
    with create_job_pool(quiet=True, deadline=2) as pool:
        quick = pool.queue(sleep, (0.0,))
        failing = pool.queue(divide, (1, 0))
        endless = pool.queue(spin, (60,))
        never = pool.queue(sleep, (0.02,))
        with pytest.raises(LeftInTime, match="2 of 4 jobs are left and 1 failed") as left:
            pool.execute(return_results=True)
        assert left.value.code == EXIT_CODE == 75
        assert left.value.n_left == 2
        assert left.value.results == {quick: 0.0}
        assert [job.status for job in (quick, failing, endless, never)] == [
            JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.ABORTED, JobStatus.CANCELLED,
        ]  # fmt: skip
        assert "its deadline is reached" in str(endless.error)
    assert "ZeroDivisionError" in caplog.text


def test_jobs_that_depend_on_one_that_is_left_are_left() -> None:
    with create_job_pool(quiet=True, deadline=1) as pool:
        endless = pool.queue(spin, (60,))
        later = pool.queue(sleep, (0,), deps=[endless])
        with pytest.raises(LeftInTime, match="2 of 2"):
            pool.execute()
        assert later.status is JobStatus.CANCELLED


@pytest.mark.parametrize("settings", [{"deadline": 600}, {"grace": 600}])
def test_a_timeout_before_the_deadline_is_a_timeout(settings) -> None:
    with create_job_pool(quiet=True, **settings) as pool:
        pool.queue(sleep, (0.3,))
        others = [pool.queue(sleep, (0.3,)) for _ in range(100)]
        with pytest.raises(TimeoutError, match=r"did not end within 1 s"):
            pool.execute(timeout=1)
        assert "timeout of 1 s" in str(others[-1].error)


def test_a_run_that_is_stopped_does_not_leave() -> None:
    with create_job_pool(quiet=True, deadline=600) as pool:
        pool.queue(lambda owner: pool.stop())
        pool.queue(sleep, (0,))
        with pytest.raises(JobCancelledError, match=r"pool\.stop\(\)"):
            pool.execute()


# ------------------------------------------------------------------ the limit alone


class Times:
    """The run times of jobs that have ended, in seconds."""

    def __init__(self) -> None:
        self.seconds = {}

    def entry(self, number):
        seconds = self.seconds.get(number)
        return 0, 0, 0, int((seconds or 0) * 1e9), 0, 0, 0, int(seconds is not None)


class FakeJob:
    """A job of a kind."""

    options = submission_data = error = None

    def __init__(self, number, f) -> None:
        self.function_call = (f, ())
        self.number, self.label = number, f"job {number}"
        self.status = JobStatus.QUEUED

    def record_error(self, error) -> None:
        self.error = error


class FakeRun:
    """Jobs, of which some have ended."""

    def __init__(self) -> None:
        self.engine, self.events, self.times, self.jobs = self, self, Times(), []
        self.failures = {}
        self.lock = contextlib.nullcontext()

    def status(self, number):
        return self.jobs[number].status

    def is_sent(self, number):
        return self.jobs[number].status is JobStatus.RUNNING

    def cancel(self, number, running):
        before, self.jobs[number].status = self.jobs[number].status, JobStatus.CANCELLED
        return before

    def add(self, f, seconds=None):
        job = FakeJob(len(self.jobs), f)
        self.jobs.append(job)
        if seconds is not None:
            job.status = JobStatus.SUCCESS
            self.times.seconds[job.number] = seconds
        return job


def limit_of(run, seconds=math.inf, timeout=None, grace=20.0):
    return LeavingLimit(timeout, LeavingRules(time.time() + seconds, grace), run)


def test_jobs_that_cannot_end_in_time_are_not_started() -> None:
    run = FakeRun()
    for seconds in (10, 1000):
        run.add(sleep, seconds)
    run.add(spin, 1)
    long, short, new = run.add(sleep), run.add(spin), run.add(divide)
    sent = run.add(sleep)
    sent.status = JobStatus.RUNNING
    limit = limit_of(run, 900)
    limit.check()
    assert long.status is JobStatus.CANCELLED
    assert "could not end in time: its deadline is reached" in str(long.error)
    assert short.status is new.status is JobStatus.QUEUED
    assert sent.status is JobStatus.RUNNING
    limit.leave("SIGUSR2", time.monotonic())
    limit.check()
    assert (short.status, new.status) == (JobStatus.QUEUED, JobStatus.CANCELLED)
    with pytest.raises(TimeLimitReached):
        limit.run_ended()
    assert limit.stop_code == EXIT_CODE


def test_jobs_that_follow_those_that_are_left_are_left() -> None:
    """With `on_end` they may clean up, and the jobs that are left run in the next run."""
    run = FakeRun()
    run.add(sleep, 1000)
    left, done = run.add(sleep), run.add(spin, 1)
    followers = [run.add(divide) for _ in range(3)]
    for follower, followed in zip(followers, ([left], [followers[0]], [done]), strict=True):
        follower.options = SimpleNamespace(name=None, on_end=followed)
    limit_of(run, 900).check()
    cancelled = [job.status is JobStatus.CANCELLED for job in (left, *followers)]
    assert cancelled == [True, True, True, False]


def test_a_signal_while_the_jobs_are_looked_at_is_not_lost() -> None:
    run = FakeRun()
    limit = limit_of(run, 3600)
    run.status = lambda number: limit.leave("SIGTERM", time.monotonic()) or JobStatus.QUEUED
    run.add(sleep)
    limit.check()
    assert limit.seconds == 0


def test_a_signal_at_the_end_of_a_look_is_not_lost(monkeypatch) -> None:
    """It can arrive in each call, also in one whose arguments were read before."""
    limit = limit_of(FakeRun())
    signalled = []

    def signal_arrives() -> None:
        if not signalled:
            signalled.append(True)
            limit.leave("SIGTERM", time.monotonic())

    def least(*values):
        signal_arrives()
        return min(*values)

    monkeypatch.setattr("bsbpool.leaving.limit.min", least, raising=False)
    limit.check()
    signal_arrives()
    assert limit.seconds == 0


def test_estimates_are_those_of_the_last_jobs_of_a_kind() -> None:
    run = FakeRun()
    times = RunTimes(run)
    for seconds in [600] * 50 + [1] * 2000:
        run.add(sleep, seconds)
        run.add(functools.partial(spin, seconds=seconds), 5)
    waiting = run.add(sleep)
    times.update()
    assert times.of(waiting, -1) == 1
    assert times.longest == 5
    assert times.of(run.add(functools.partial(spin, seconds=7)), -1) == 5
    assert estimate([1, 2, 3]) == 3
    assert estimate(range(100)) == 95
    for other in (Callable(), Callable()):
        run.add(other, 3)
    times.update()
    assert times.of(run.add(Callable()), -1) == 3


class Callable:
    """A function with state."""

    def __call__(self, owner):
        return None


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


@pytest.mark.parametrize("settings", [{}, {"max_memory": 1_000_000}])
def test_forked_children_end_on_sigterm(settings) -> None:
    def end_a_child(owner):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(30)
        return child.exitcode

    with create_job_pool(quiet=True, grace=600, **settings) as pool:
        job = pool.queue(end_a_child)
        pool.execute(timeout=60)
        assert job.result == -signal.SIGTERM


def test_a_signal_in_a_run_that_ends_in_time_ends_the_next_one() -> None:
    with create_job_pool(quiet=True, grace=1) as pool:
        pool.queue(lambda owner: os.kill(os.getpid(), signal.SIGTERM))
        pool.execute()
    with create_job_pool(quiet=True, grace=1) as pool:
        job = pool.queue(spin, (60,))
        with pytest.raises(LeftInTime, match="SIGTERM"):
            pool.execute()
        assert job.status in (JobStatus.ABORTED, JobStatus.CANCELLED)


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
import hashlib, os, signal, sys, time
from bsbpool import LeftInTime, create_job_pool

how = sys.argv[1]

def work(owner, seconds):
    time.sleep(seconds)

def compute(owner):
    hashlib.pbkdf2_hmac("sha256", b"", b"", 40_000_000)

def signal_main(owner, main):
    os.kill(main, signal.SIGTERM)
    time.sleep(0.2)
    return "ended"

settings = {"deadline": 3.0} if how in ("deadline", "no reaction") else {"grace": 3}
if how == "main_works":
    settings["main_works"] = True
with create_job_pool(quiet=True, **settings) as pool:
    if pool.is_main():
        first = pool.queue(signal_main, (os.getpid(),)) if "grace" in settings else None
        if how == "no reaction":
            pool.queue(compute)
        jobs = [pool.queue(work, (60,)) for _ in range(10)]
    try:
        pool.execute(timeout=2.5 if how == "timeout" else None)
    finally:
        error = sys.exc_info()[1]
        counts = {status.name for status, n in pool.counts.items() if n} if pool.is_main() else {}
        sys.stderr.write(f"{type(error).__name__} {getattr(error, 'n_left', '')} {counts}\\n")
        sys.stderr.flush()
        assert not pool.is_main() or first is None or first.result == "ended"
"""


@pytest.mark.parametrize("how", ["deadline", "signal", "main_works", "timeout", "no reaction"])
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
    assert text.count("LeftInTime ") == 3 - (how == "no reaction"), text
    assert "'CANCELLED'" in text, text
