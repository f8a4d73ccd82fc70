"""The options that matter where a job runs: `timeout`, `capture_output`, `seed` and `name`.

Also `dependency_timeout`, and `current_job`.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from bsbpool import (
    JobCancelledError,
    JobPoolError,
    JobStatus,
    JobTimeoutError,
    WorkflowError,
    create_job_pool,
    current_job,
    services,
)
from bsbpool.execution import capture, stuck_jobs
from helpers.launch import mpirun

from .on_ranks import on_ranks
from .support import fail, give, nothing, statuses, until


def sleep(owner, seconds=20.0):
    time.sleep(seconds)
    return seconds


def spin(owner, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def describe(owner, *args, **kwargs):
    job = current_job()
    return job.number, job.name, job.label, job.attempt, job.cancelled, dict(job.resources)


def draw(owner):
    return current_job().rng.random(3).tolist()


def speak(owner, n=1):
    for _ in range(n):
        print("to stdout")
        print("to stderr", file=sys.stderr)
    os.system("echo from a process")
    sys.stdout.write("without an end of line")
    return n


EXPECTED_OUT = "to stdout\nfrom a process\nwithout an end of line"


def failures_of(pool, **options):
    with pytest.raises(WorkflowError) as caught:
        pool.execute(**options)
    return [failure.__cause__ for failure in caught.value.exceptions]


# ------------------------------------------------------------------ timeout


class TestTimeout:
    @pytest.mark.parametrize("body", [sleep, spin])
    def test_a_job_that_takes_too_long_fails(self, pool, body):
        job = pool.options(timeout=0.1).submit(body)
        after, other = pool.submit(nothing, deps=[job]), pool.submit(give, 1)
        began = time.monotonic()
        [error] = failures_of(pool)
        assert time.monotonic() - began < 5
        assert statuses(job, after, other) == ["failed", "cancelled", "success"]
        assert type(error) is JobTimeoutError
        assert error is job.error
        assert isinstance(error, TimeoutError)
        assert str(error) == f"{job.label} took longer than its timeout of 0.1 s"

    def test_the_job_gets_the_error(self, pool):
        seen = []

        def body(owner):
            try:
                time.sleep(20)
            except TimeoutError as error:
                seen.append((str(error), current_job().cancelled))
                raise

        job = pool.options(timeout=0.1).submit(body)
        failures_of(pool)
        assert seen == [(str(job.error), True)]

    @pytest.mark.parametrize("end", [give, fail])
    def test_a_job_that_catches_the_error_fails_nevertheless(self, pool, end):
        def body(owner):
            with suppress(TimeoutError):
                time.sleep(20)
            return end(owner, "value")

        job = pool.options(timeout=0.1).submit(body)
        [error] = failures_of(pool)
        assert type(error) is JobTimeoutError
        assert isinstance(error.__cause__, ValueError if end is fail else type(None))
        assert statuses(job) == ["failed"]

    def test_a_job_that_ends_in_time(self, pool):
        view = pool.options(timeout=20)
        good, bad = view.submit(give, 1), view.submit(fail, "no")
        failures_of(pool)
        assert good.result == 1
        assert type(bad.error) is ValueError

    def test_a_timeout_error_of_the_job_itself(self, pool):
        def body(owner):
            raise TimeoutError("mine")

        job = pool.options(timeout=20).submit(body)
        failures_of(pool)
        assert repr(job.error) == "TimeoutError('mine')"

    def test_many_jobs_and_none_hits_another(self, pool):
        """Some end in the moment in which their time is over."""
        view = pool.options(timeout=0.005)
        jobs, plain = [], []
        for n in range(100):
            jobs.append(view.submit(spin, 0.1 if n % 10 == 0 else 0.005))
            plain.append(pool.submit(spin, 0.002))
        with suppress(WorkflowError):
            pool.execute()
        assert {job.status for job in plain} == {JobStatus.SUCCESS}
        assert {job.status for job in jobs[::10]} == {JobStatus.FAILED}

    def test_in_another_thread(self):
        errors = []

        def execute():
            with create_job_pool(quiet=True) as pool:
                pool.options(timeout=0.1).submit(spin)
                errors.extend(failures_of(pool))

        thread = threading.Thread(target=execute)
        thread.start()
        thread.join()
        assert [str(error) for error in errors] == [
            "job 0 'spin()' took longer than its timeout of 0.1 s"
        ]

    def test_of_a_job_in_a_pool_inside_a_job(self, pool):
        def body(owner):
            with create_job_pool(quiet=True) as inner:
                job = inner.options(timeout=0.1).submit(sleep)
                with pytest.raises(WorkflowError):
                    inner.execute()
            return type(job.error) is JobTimeoutError

        job = pool.options(timeout=20).submit(body)
        assert pool.execute(return_results=True) == {job: True}

    def test_of_a_job_that_executes_a_pool(self, pool):
        ran = []

        def body(owner):
            with create_job_pool(quiet=True) as inner:
                inner.submit(sleep)
                inner.submit(ran.append)
                inner.execute()

        job = pool.options(timeout=0.1).submit(body)
        failures_of(pool)
        assert (ran, type(job.error)) == ([], JobTimeoutError)

    def test_each_attempt_has_the_time(self, pool):
        def body(owner):
            if current_job().attempt < 3:
                time.sleep(20)
            return current_job().attempt, time.sleep(0.05)

        job = pool.options(timeout=0.2, retries=2).submit(body)
        assert pool.execute(return_results=True) == {job: (3, None)}
        assert [type(attempt.error) for attempt in job.attempts] == [JobTimeoutError] * 2

    def test_a_note_about_the_owner(self, pool):
        pool.options(timeout=20).submit(lambda: None)
        [error] = failures_of(pool)
        assert "receive the pool's owner as first argument" in error.__notes__[0]


# ------------------------------------------------------------------ dependency_timeout


class TestDependencyTimeout:
    def test_a_job_that_waits_too_long_is_cancelled_in_time(self, pool):
        first = pool.submit(sleep, 0.5)
        job = pool.options(dependency_timeout=0.1).queue(nothing, deps=[first])
        after = pool.submit(nothing, deps=[job])
        ended = []
        job.on_completion(lambda job: ended.append(job.status))
        pool.execute()
        assert statuses(first, job, after) == ["success", "cancelled", "cancelled"]
        assert isinstance(job.error, JobCancelledError)
        assert str(job.error) == (
            f"The dependencies of {job.label} did not end within its dependency_timeout of 0.1 s"
        )
        assert ended == [JobStatus.CANCELLED]

    def test_a_job_whose_dependencies_end_in_time(self, pool):
        view = pool.options(dependency_timeout=20)
        job = view.queue(give, (1,), deps=[pool.submit(nothing)])
        assert pool.execute(return_results=True)[job] == 1

    def test_a_job_without_dependencies_waits_for_none(self, pool):
        jobs = [pool.options(dependency_timeout=0.01).submit(sleep, 0.02) for _ in range(5)]
        assert list(pool.execute(return_results=True)) == jobs

    def test_the_time_begins_with_the_run(self, pool):
        job = pool.options(dependency_timeout=0.2).queue(give, (1,), deps=[pool.submit(nothing)])
        time.sleep(0.3)
        assert pool.execute(return_results=True)[job] == 1

    def test_jobs_that_are_queued_during_the_run(self, pool):
        late = []

        def queue(job):
            view = pool.options(dependency_timeout=0.1)
            late.append(view.queue(nothing, deps=[slow]))

        pool.submit(nothing).on_completion(queue)
        slow = pool.submit(sleep, 0.4)
        pool.execute()
        assert statuses(*late) == ["cancelled"]


# ------------------------------------------------------------------ current_job


class TestCurrentJob:
    def test_there_is_none_outside_of_jobs(self, pool):
        seen = []
        job = pool.submit(nothing)
        job.on_completion(lambda job: seen.append(current_job()))
        pool.add_listener(lambda progress: seen.append(current_job()))
        pool.execute()
        assert current_job() is None
        assert set(seen) == {None}

    def test_a_plain_job(self, pool):
        jobs = [pool.submit(describe, 1), pool.submit(lambda owner: describe(owner))]
        results = list(pool.execute(return_results=True).values())
        assert results == [
            (0, "describe", jobs[0].label, 1, False, {}),
            (1, "<lambda>", jobs[1].label, 1, False, {}),
        ]

    def test_a_job_with_a_name(self, pool):
        job = pool.options(name="Jim").submit(describe)
        assert pool.execute(return_results=True)[job] == (0, "Jim", "job 0 'Jim'", 1, False, {})

    def test_a_job_that_is_run_by_hand(self, pool):
        plain, named = pool.submit(describe), pool.options(name="Jim").submit(describe)
        plain.run()
        named.run()
        assert (plain.result[1], named.result[1]) == ("describe", "Jim")
        pool.execute()

    def test_the_innermost_job(self, pool):
        def body(owner):
            with create_job_pool(quiet=True) as inner:
                other = inner.options(name="inner").submit(describe)
                inner.execute()
                return other.result[1], current_job().name

        job = pool.options(name="outer").submit(body)
        assert pool.execute(return_results=True)[job] == ("inner", "outer")

    def test_a_thread_of_a_job_is_outside_of_it(self, pool):
        def body(owner):
            seen = []
            thread = threading.Thread(target=lambda: seen.append(current_job()))
            thread.start()
            thread.join()
            return seen

        job = pool.submit(body)
        assert pool.execute(return_results=True)[job] == [None]

    def test_jobs_in_a_thread_because_of_a_listener(self, pool):
        job, named = pool.submit(describe), pool.options(name="Jim").submit(describe)
        pool.add_listener(lambda progress: None, max_wait=5)
        results = pool.execute(return_results=True)
        assert (results[job][1], results[named][1]) == ("describe", "Jim")


# ------------------------------------------------------------------ seed


class TestSeed:
    def test_each_job_has_its_own_numbers_and_gets_them_again(self):
        def run():
            with create_job_pool(quiet=True) as pool:
                for _ in range(3):
                    pool.options(seed=7).submit(draw)
                return list(pool.execute(return_results=True).values())

        first = run()
        assert first == run()
        assert first == [
            np.random.default_rng(np.random.SeedSequence(7, spawn_key=(n,))).random(3).tolist()
            for n in range(3)
        ]

    def test_the_generator_is_made_once(self, pool):
        job = pool.options(seed=0).submit(lambda owner: current_job().rng is current_job().rng)
        assert pool.execute(return_results=True)[job] is True

    def test_without_a_seed(self, pool):
        pool.submit(draw)
        [error] = failures_of(pool)
        assert isinstance(error, JobPoolError)
        assert "it was queued without a seed; queue it with pool.options(seed=...)" in str(error)


# ------------------------------------------------------------------ capture_output


class TestCaptureOutput:
    def test_output_is_kept_in_the_order_of_writing(self, pool, capfd):
        job, plain = pool.options(capture_output=True).submit(speak), pool.submit(speak)
        out, err = sys.stdout, sys.stderr
        assert pool.execute(return_results=True) == {job: 1, plain: 1}
        assert (sys.stdout, sys.stderr) == (out, err)
        assert job.output.stdout == EXPECTED_OUT
        assert job.output.stderr == "to stderr\n"
        assert sorted(str(job.output)) == sorted(EXPECTED_OUT + "to stderr\n")
        assert plain.output is None
        assert "to stderr\n" in capfd.readouterr().err

    def test_nothing_is_written(self, pool):
        job = pool.options(capture_output=True).submit(nothing)
        pool.execute()
        assert job.output is None or str(job.output) == ""

    def test_output_of_a_job_that_fails(self, pool):
        def body(owner):
            print("before")
            raise ValueError("no")

        job = pool.options(capture_output=True).submit(body)
        failures_of(pool)
        assert job.output.stdout == "before\n"

    def test_output_of_a_job_that_is_interrupted(self, pool):
        def body(owner):
            print("before", flush=True)
            time.sleep(20)

        job = pool.options(capture_output=True, timeout=0.2).submit(body)
        failures_of(pool)
        assert job.output.stdout == "before\n"
        print("not captured")

    def test_the_middle_of_a_large_output_is_dropped(self, pool):
        def body(owner):
            for n in range(200_000):
                print(f"line {n:10}")

        job = pool.options(capture_output=True).submit(body)
        pool.execute()
        text = job.output.stdout
        most = capture.FIRST_BYTES + capture.LAST_BYTES
        assert most <= len(text) <= most + 100
        assert text.startswith("line          0\n")
        assert text.endswith("line     199999\n")
        assert f"\n... {200_000 * 16 - most:,} bytes of stdout left out ...\n" in text

    def test_text_that_is_no_ascii_and_bytes_that_are_no_text(self, pool):
        def body(owner):
            print("ä€" * 5_000)
            print("\udcff")
            sys.stdout.flush()
            os.write(1, b"\xff")

        job = pool.options(capture_output=True).submit(body)
        pool.execute()
        assert job.output.stdout == "ä€" * 5_000 + "\n\\udcff\n\N{REPLACEMENT CHARACTER}"

    def test_listeners_get_the_output(self, pool):
        seen = []

        def listener(progress):
            if progress.reason.name == "JOB_OUTPUT":
                seen.append((progress.job, progress.stream, progress.text))

        pool.add_listener(listener)
        job = pool.options(capture_output=True).submit(speak)
        pool.execute()
        assert {found for found, _, _ in seen} == {job}
        assert "".join(text for _, stream, text in seen if stream == 1) == EXPECTED_OUT

    def test_while_a_job_runs_in_a_thread_because_of_a_listener(self, pool, capsys):
        """Other threads write to the terminal meanwhile."""

        def body(owner):
            print("captured")
            assert until(lambda: pings)
            print("as well", file=sys.stderr)

        def listener(progress):
            if progress.reason.name == "MAX_TIMEOUT_PING":
                pings.append(1)
                print("by the listener")

        pings = []
        pool.add_listener(listener, max_wait=0.05)
        job = pool.options(capture_output=True).submit(body)
        pool.execute()
        assert (job.output.stdout, job.output.stderr) == ("captured\n", "as well\n")
        assert "by the listener\n" in capsys.readouterr().out

    def test_inside_of_a_captured_job(self, pool):
        def body(owner):
            print("outer")
            with create_job_pool(quiet=True) as inner:
                job = inner.options(capture_output=True).submit(lambda owner: print("inner"))
                inner.execute()
            print("outer again")
            return job.output.stdout

        job = pool.options(capture_output=True).submit(body)
        assert pool.execute(return_results=True) == {job: "inner\n"}
        assert job.output.stdout == "outer\nouter again\n"

    def test_a_process_that_outlives_the_job_is_not_waited_for(self, pool):
        job = pool.options(capture_output=True).submit(lambda owner: os.system("sleep 3 &"))
        began = time.monotonic()
        pool.execute()
        assert time.monotonic() - began < 2
        assert statuses(job) == ["success"]


# ------------------------------------------------------------------ on ranks


@on_ranks(3)
def test_on_workers():
    with create_job_pool(quiet=True) as pool:
        if not pool.is_main():
            with pytest.raises(WorkflowError):
                pool.execute()
            return
        seen = []
        pool.add_listener(
            lambda p: p.reason.name == "JOB_OUTPUT" and seen.append((p.job.status, p.text))
        )
        slow = pool.options(timeout=0.3).submit(sleep)
        busy = pool.options(timeout=0.3).submit(spin)
        after = pool.submit(nothing, deps=[slow])
        waiting = pool.options(dependency_timeout=0.1).queue(nothing, deps=[busy])
        dice = [pool.options(seed=7).submit(draw) for _ in range(5)]
        again = pool.options(timeout=0.3, retries=1).submit(
            lambda owner: current_job().attempt > 1 or time.sleep(20)
        )
        named = pool.options(name="Jim", timeout=20).submit(describe)
        closure = pool.submit(lambda owner, seen=(): describe(owner))
        plain = pool.submit(describe, "text")
        voice = pool.options(capture_output=True).submit(speak, 3)
        long = pool.options(capture_output=True).submit(lambda owner: print("x" * 100_000))
        errors = failures_of(pool)
        assert {str(error) for error in errors} == {
            f"{job.label} took longer than its timeout of 0.3 s" for job in (slow, busy)
        }
        assert {type(error) for error in errors} == {JobTimeoutError}
        assert statuses(slow, busy, after, waiting) == ["failed", "failed"] + ["cancelled"] * 2
        assert "dependency_timeout of 0.1 s" in str(waiting.error)
        assert [job.result for job in dice] == [
            np.random.default_rng(np.random.SeedSequence(7, spawn_key=(n,))).random(3).tolist()
            for n in range(4, 9)
        ]
        assert again.result is True
        assert named.result == (10, "Jim", "job 10 'Jim'", 1, False, {})
        assert closure.result[1:3] == ("<lambda>", "job 11 '<lambda>()'")
        assert plain.result[1:3] == ("describe", "job 12 'describe('text')'")
        assert voice.output.stdout == "to stdout\n" * 3 + EXPECTED_OUT[10:]
        assert voice.output.stderr == "to stderr\n" * 3
        assert long.output.stdout == "x" * 100_000 + "\n"
        assert "".join(text for _, text in seen).count("to stdout") == 3


@on_ranks(2)
def test_output_arrives_while_the_job_runs():
    def body(owner):
        print("ready")
        sys.stdout.flush()
        time.sleep(20)

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            job = pool.options(capture_output=True).submit(body)

            def listener(progress):
                if progress.reason.name == "JOB_OUTPUT":
                    assert progress.job.status is JobStatus.RUNNING
                    progress.job.cancel("it is ready", running=True)

            pool.add_listener(listener)
            began = time.monotonic()
            pool.execute()
            assert time.monotonic() - began < 10
            assert str(job.error) == "it is ready"
            assert job.output.stdout == "ready\n"
        else:
            pool.execute()


def turns_in_a_second():
    began = time.monotonic()
    sum(itertools.repeat(1, 20_000_000))
    return int(20_000_000 / (time.monotonic() - began))


def stay_in_c(owner, n):
    """Execute no bytecode for long, with the GIL."""
    return sum(itertools.repeat(1, n))


@on_ranks(3)
def test_a_job_that_is_stuck_in_c():
    stuck_jobs.GRACE_SECONDS = 0.3
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            n = 3 * turns_in_a_second()
            job = pool.options(timeout=0.2).submit(stay_in_c, n)
            after = pool.submit(nothing, deps=[job])
            ended = []
            job.on_completion(lambda job: ended.append(time.monotonic()))
            rank_of = services.MPI.get_rank
            others = [
                pool.submit(lambda owner: (sleep(owner, 0.02), rank_of())) for _ in range(400)
            ]
            began = time.monotonic()
            [error] = failures_of(pool)
            assert type(error) is JobTimeoutError
            assert "took longer than its timeout of 0.2 s, and did not end within" in str(error)
            assert statuses(job, after) == ["failed", "cancelled"]
            assert 0.5 <= ended[0] - began < 2.5
            assert {other.status for other in others} == {JobStatus.SUCCESS}
            # It is used again after it has returned.
            assert {rank for _, rank in (other.result for other in others[-20:])} == {1, 2}
        else:
            with pytest.raises(WorkflowError):
                pool.execute()
    services.MPI.barrier()


@on_ranks(2)
def test_a_rank_that_is_stuck_when_the_run_ends():
    stuck_jobs.GRACE_SECONDS = 0.2
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.options(timeout=0.1).submit(stay_in_c, 2 * turns_in_a_second())
            began = time.monotonic()
            failures_of(pool)
            assert time.monotonic() - began < 1.5
        else:
            with pytest.raises(WorkflowError):
                pool.execute()
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(give, 1) if pool.is_main() else None
        results = pool.execute(return_results=True)
        assert results == ({job: 1} if job is not None else {})


@on_ranks(2)
def test_where_mpi_does_not_support_threads():
    import mpi4py

    mpi4py.rc.thread_level = "funneled"

    def ask(owner):
        """Execute bytecode that asks for the flag; the error is raised all the same."""
        end = time.monotonic() + 20
        while time.monotonic() < end and not current_job().cancelled:
            time.sleep(0.001)

    with create_job_pool(quiet=True) as pool:
        if not pool.is_main():
            with pytest.raises(WorkflowError):
                pool.execute()
            return
        slow = pool.options(timeout=0.2).submit(sleep)
        asking = pool.submit(ask)
        voice = pool.options(capture_output=True).submit(lambda owner: print("x" * 50_000))
        last = pool.submit(give, 1)

        def cancel(progress):
            if asking.status is JobStatus.RUNNING and not timers:
                timers.append(threading.Timer(0.2, asking.cancel, ("enough", True)))
                timers[0].start()

        timers = []
        pool.add_listener(cancel)
        began = time.monotonic()
        [error] = failures_of(pool)
        assert time.monotonic() - began < 10
        assert type(error) is JobTimeoutError
        assert statuses(slow, asking, voice, last) == ["failed", "cancelled", "success", "success"]
        assert voice.output.stdout == "x" * 50_000 + "\n"


DIES = """
import ctypes, time
from bsbpool import create_job_pool

def die(owner):
    print("before", flush=True)
    time.sleep(0.3)
    ctypes.string_at(0)

with create_job_pool(quiet=True) as pool:
    if pool.is_main():
        job = pool.options(capture_output=True, name="Jim").submit(die)
        pool.add_listener(lambda p: p.reason.name == "JOB_OUTPUT" and print("received", p.text))
    pool.execute()
"""


@pytest.mark.launches
@pytest.mark.limit(60)
def test_a_fault_is_reported_although_stderr_is_captured(tmp_path):
    program = tmp_path / "dies.py"
    program.write_text(DIES)
    done = mpirun(2, program, timeout=50)
    assert done.returncode != 0
    assert "bsbpool: rank 1 died of SIGSEGV" in done.stdout, done.stdout
    assert "received before" in done.stdout, done.stdout
