"""The guarantees of the pool when a worker dies and MPI continues (Open MPI, --with-ft ulfm).

The body of each test runs on several ranks. The dead ones do not come to its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bsbpool import JobPool, JobStatus, WorkerLostError, WorkflowError, create_job_pool, services
from bsbpool._core.comm.process_monitor import ProcessMonitor
from chaos.plan import EXIT
from helpers.launch import TESTS, environment, launcher, start, stop

LIMIT = 40.0
ENDED = "== came to the end =="


def survives(n: int, deaths: int, code: int = 0) -> Callable[[Callable[[], Any]], Any]:
    """Make a test whose body runs on `n` ranks; all but `deaths` of them must come to its end."""

    def decorate(body: Callable[[], Any]) -> Callable[[], None]:
        @functools.wraps(body)
        def launch() -> None:
            command, *rest = launcher(n)
            where = (body.__module__, body.__name__, str(LIMIT - 5))
            program = [sys.executable, "-m", "api.on_ranks", *where]
            process = start(
                [command, "--with-ft", "ulfm", *rest, *program], cwd=TESTS, env=environment()
            )
            try:
                text, _ = process.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                stop(process)
                pytest.fail(f"no end after {LIMIT:g} s:\n{process.communicate()[0]}")
            finally:
                stop(process)
            assert text.count(ENDED) == n - deaths, text
            assert process.returncode == code, text

        launch.body = body  # type: ignore[attr-defined]
        return pytest.mark.limit(LIMIT + 30)(launch)

    return decorate


def give(owner: Any, value: Any, seconds: float = 0.0) -> Any:
    time.sleep(seconds)
    return value


def die(owner: Any, how: str = "kill", seconds: float = 0.0) -> None:
    time.sleep(seconds)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(0)


def handled(progress: Any) -> bool:
    return getattr(progress, "status", None) is JobStatus.ABORTED


def statuses(*jobs: Any) -> list[str]:
    return [job.status.value for job in jobs]


@survives(3, 1)
def test_the_run_goes_on_and_ends_with_the_error() -> None:
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            first = [pool.submit(give, n) for n in range(100)]
            lost = pool.submit(die, deps=first)
            dependent = pool.submit(give, 1, deps=[lost])
            later = [pool.submit(give, n, 0.002, deps=first) for n in range(100)]
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        if pool.is_main():
            assert statuses(lost, dependent) == ["aborted", "cancelled"]
            assert {job.status for job in first + later} == {JobStatus.SUCCESS}
            assert [job.result for job in first] == list(range(100))
            (failure,) = caught.value.exceptions
            error = failure.error
            assert isinstance(error, WorkerLostError)
            assert error is lost.error
            assert error.rank in (1, 2)
            assert error.job is lost
            assert f"rank {error.rank} died" in str(error)


@survives(3, 1)
def test_a_listener_can_handle_it() -> None:
    with create_job_pool(quiet=True) as pool:
        pool.add_listener(handled)
        if pool.is_main():
            lost = pool.submit(die)
            jobs = [pool.submit(give, n) for n in range(50)]
        pool.execute()
        if pool.is_main():
            assert statuses(lost) == ["aborted"]
            assert [job.result for job in jobs] == list(range(50))
    for _ in range(3):  # further pools use the remaining workers
        with create_job_pool(quiet=True) as pool:
            jobs = [pool.submit(give, n) for n in range(50)] if pool.is_main() else []
            pool.execute()
            assert [job.result for job in jobs] == list(range(len(jobs)))


@survives(3, 1)
def test_the_signal_is_told_where_it_is_known() -> None:
    with create_job_pool(quiet=True) as pool:
        pool.add_listener(handled)
        lost = pool.submit(die, "segfault") if pool.is_main() else None
        pool.execute()
        if lost:
            assert lost.error.signal == signal.SIGSEGV
            assert "SIGSEGV" in str(lost.error)


@survives(3, 1)
def test_a_death_is_noticed_within_a_second() -> None:
    noticed: list[float] = []

    def listener(progress: Any) -> bool:
        if handled(progress):
            noticed.append(time.time())
        return handled(progress)

    def leave_word(owner: Any, path: str) -> None:
        with open(path, "w") as file:
            file.write(str(time.time()))
        die(owner)

    with create_job_pool(quiet=True) as pool:
        pool.add_listener(listener)
        if pool.is_main():
            path = os.path.join(JobPool.get_tmp_folder(pool.id), "word")
            pool.submit(leave_word, path)
            pool.submit(give, 0, 2.0)
        pool.execute()
        if pool.is_main():
            (when,) = noticed
            with open(path) as file:
                assert when - float(file.read()) < 1.0


@survives(2, 1)
def test_without_a_worker_left_the_run_ends() -> None:
    with create_job_pool(quiet=True) as pool:
        pool.submit(die, "exit")
        waiting = [pool.submit(give, n) for n in range(10)]
        began = time.monotonic()
        with pytest.raises(WorkerLostError, match="all worker ranks have died"):
            pool.execute()
        assert time.monotonic() - began < 5
        assert set(statuses(*waiting)) == {"cancelled"}
    with create_job_pool(quiet=True) as pool:
        pool.submit(give, 0)
        with pytest.raises(WorkerLostError):
            pool.execute()


@survives(4, 2)
def test_two_die_at_once_with_large_results_on_their_way() -> None:
    with create_job_pool(quiet=True) as pool:
        pool.add_listener(handled)
        if pool.is_main():
            arrays = [pool.submit(lambda owner, n: np.full(n, 7), 500_000) for _ in range(60)]
            lost = [pool.submit(die, "kill", 0.05) for _ in range(2)]
            arrays += [pool.submit(lambda owner, n: np.full(n, 7), 500_000) for _ in range(60)]
        pool.execute()
        if pool.is_main():
            assert statuses(*lost) == ["aborted"] * 2
            assert all((job.result == 7).all() for job in arrays if job.status is JobStatus.SUCCESS)
            assert {job.status for job in arrays} <= {JobStatus.SUCCESS, JobStatus.ABORTED}
            assert statuses(*arrays).count("aborted") <= 2


@survives(3, 1)
def test_a_large_argument_for_a_rank_that_dies() -> None:
    """Messages that main was sending to the worker are discarded, and sent to another."""
    with create_job_pool(quiet=True) as pool:
        pool.add_listener(handled)
        if pool.is_main():
            pool.submit(die, "kill", 0.1)
            jobs = [pool.submit(lambda owner, a: a.sum(), np.ones(1_000_000)) for _ in range(50)]
        pool.execute()
        if pool.is_main():
            assert statuses(*jobs).count("success") >= 49
            assert all(job.result == 1e6 for job in jobs if job.status is JobStatus.SUCCESS)


@survives(3, 1)
def test_fail_fast_ends_at_once() -> None:
    began = time.monotonic()
    with create_job_pool(quiet=True, fail_fast=True) as pool:
        if pool.is_main():
            pool.submit(die, "kill", 0.1)
            later = [pool.submit(give, n, 0.1) for n in range(300)]
        with pytest.raises(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert time.monotonic() - began < 5
            assert statuses(*later).count("cancelled") > 200


@survives(3, 1)
def test_an_idle_rank_that_dies_costs_nothing() -> None:
    pids = []
    with create_job_pool(quiet=True) as pool:
        pids = services.MPI.get_communicator().gather(os.getpid())
        if pool.is_main():
            first = pool.submit(give, 0, 0.5)

            def kill_the_idle_one(node: Any) -> None:
                time.sleep(0.2)
                number = pool.run_context.engine.running_job(0)
                os.kill(pids[2 if number is not None else 1], signal.SIGKILL)
                time.sleep(0.1)
                after.extend(pool.submit(give, n) for n in range(50))

            after: list[Any] = []
            pool.schedule([None], kill_the_idle_one)
        pool.execute()
        if pool.is_main():
            assert statuses(first, *after) == ["success"] * 51


@survives(3, 1)
def test_a_pool_made_before_the_death_goes_on_without_the_dead() -> None:
    first, second = (JobPool(n, None) for n in range(2))
    with first:
        first.add_listener(handled)
        first.submit(die)
        first.execute()
    with second:
        jobs = [second.submit(give, n) for n in range(20)] if second.is_main() else []
        second.execute()
        assert [job.result for job in jobs] == list(range(len(jobs)))


@survives(3, 1)
def test_a_death_between_pools_costs_no_job() -> None:
    """Jobs that were sent to a rank before its death was known have not begun."""
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n) for n in range(20)] if pool.is_main() else []
        pool.execute()
    if services.MPI.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n, 0.01) for n in range(20)] if pool.is_main() else []
        pool.execute()
        assert set(statuses(*jobs)) <= {"success"}


def run_script(script: str) -> tuple[int, str]:
    """Run a script on 3 ranks; return the exit code and the output."""
    command, *rest = launcher(3)
    process = start(
        [command, "--with-ft", "ulfm", *rest, sys.executable, "-c", script], None, environment()
    )
    try:
        text, _ = process.communicate(timeout=LIMIT)
    finally:
        stop(process)
    return process.returncode, text


def test_unhandled_the_program_ends_with_the_error() -> None:
    code, text = run_script(
        "import os, signal\n"
        "from bsbpool import create_job_pool\n"
        "with create_job_pool(quiet=True) as pool:\n"
        "    if pool.is_main():\n"
        "        pool.submit(lambda owner: os.kill(os.getpid(), signal.SIGKILL))\n"
        "    pool.execute()\n"
    )
    assert code == 1
    assert "WorkerLostError: rank" in text


def test_when_main_dies_the_workers_leave() -> None:
    script = (
        "import os, threading, time\n"
        "from bsbpool import WorkerLostError, create_job_pool\n"
        "with create_job_pool(quiet=True) as pool:\n"
        "    if pool.is_main():\n"
        "        pool.submit(lambda owner: time.sleep(0.5))\n"
        "        threading.Timer(0.2, os._exit, (0,)).start()\n"
        "    try:\n"
        "        pool.execute()\n"
        "    except WorkerLostError as error:\n"
        "        os.write(1, f'{error}\\n'.encode())\n"
    )
    _, text = run_script(script)
    assert text.count("rank 0, which schedules the jobs, has died") == 2, text


@survives(4, 1, EXIT)
def test_who_is_beside_a_dead_rank_tells_main() -> None:
    """Simulates another node: MPI does not report a rank that ends itself."""
    with create_job_pool(quiet=True) as pool:
        pool.add_listener(handled)
        if pool.is_main():
            pool.run_context.run._channel.process_monitor = ProcessMonitor({})
            lost = pool.submit(lambda owner: os._exit(EXIT))
            jobs = [pool.submit(give, n, 0.2) for n in range(20)]
        began = time.monotonic()
        pool.execute()
        if pool.is_main():
            assert statuses(lost) == ["aborted"]
            assert set(statuses(*jobs)) == {"success"}
            assert time.monotonic() - began < 5


# ------------------------------------------------------------------ a main rank that runs jobs


def rank_that_runs(owner: Any, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return services.MPI.get_rank()


@survives(3, 1)
def test_rank_0_goes_on_with_the_jobs_of_a_dead_rank() -> None:
    with create_job_pool(quiet=True, main_works=True) as pool:
        if pool.is_main():
            victim = pool.options(targets=[1]).submit(die)
            lost = pool.options(targets=[1, 0], retries_if_lost=1).submit(rank_that_runs, 0.3)
            others = [pool.submit(rank_that_runs, 0.02) for _ in range(30)]
        with contextlib.suppress(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert isinstance(victim.error, WorkerLostError)
            assert {job.status for job in [lost, *others]} == {JobStatus.SUCCESS}
            assert {0, 2} <= {job.result for job in others}


@survives(3, 2)
def test_rank_0_goes_on_alone() -> None:
    with create_job_pool(quiet=True, main_works=True) as pool:
        if pool.is_main():
            victims = [pool.options(targets=[rank]).submit(die) for rank in (1, 2)]
            later = [pool.submit(rank_that_runs, 0.02) for _ in range(40)]
            last = pool.queue(rank_that_runs, deps=later)
        with contextlib.suppress(WorkflowError):
            pool.execute()
        if pool.is_main():
            assert all(isinstance(job.error, WorkerLostError) for job in victims)
            assert last.result == 0
            assert {job.status for job in later} == {JobStatus.SUCCESS}
