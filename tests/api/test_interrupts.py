"""`job.cancel(running=True)`: an error is raised in the running job, and only there."""

from __future__ import annotations

import itertools
import signal
import threading
import time
import warnings
from contextlib import suppress

import pytest

from bsbpool import JobCancelledError, JobStatus, WorkflowError, create_job_pool, current_job

from .on_ranks import on_ranks
from .support import give, nothing, statuses, until


def spin(owner, seconds=20.0):
    """Execute bytecode until an error is raised."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def sleep(owner, seconds=20.0):
    time.sleep(seconds)


def when_running(job, call):
    """Call a function in another thread once the job runs."""

    def wait_and_call():
        assert until(lambda: job.status is JobStatus.RUNNING)
        time.sleep(0.02)
        call()

    thread = threading.Thread(target=wait_and_call)
    thread.start()
    return thread


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.usefixtures("no_warnings")
class TestFromAnotherThread:
    @pytest.mark.parametrize("body", [spin, sleep])
    def test_the_job_ends_at_once(self, pool, body):
        job = pool.submit(body)
        after, other = pool.submit(nothing, deps=[job]), pool.submit(give, 1)
        thread = when_running(job, lambda: job.cancel("not needed", running=True))
        began = time.monotonic()
        assert pool.execute(return_results=True) == {other: 1}
        thread.join()
        assert time.monotonic() - began < 5
        assert statuses(job, after) == ["cancelled", "cancelled"]
        assert repr(job.error) == "JobCancelledError('not needed')"

    def test_the_job_gets_the_error_with_the_reason(self, pool):
        seen = []

        def body(owner):
            try:
                time.sleep(20)
            except JobCancelledError as error:
                seen.append((error.args, current_job().cancelled))
                raise

        job = pool.submit(body)
        thread = when_running(job, lambda: job.cancel("däs", running=True))
        pool.execute()
        thread.join()
        assert seen == [(("däs",), True)]

    def test_a_job_that_catches_the_error_is_cancelled(self, pool):
        def body(owner):
            try:
                time.sleep(20)
            except JobCancelledError:
                return 5

        job = pool.submit(body)
        thread = when_running(job, lambda: job.cancel(running=True))
        assert pool.execute(return_results=True) == {}
        thread.join()
        assert statuses(job) == ["cancelled"]

    def test_where_the_program_handles_the_signal(self, pool):
        """The interpreter raises the error then."""
        before = signal.signal(signal.SIGURG, lambda number, frame: None)
        try:
            job = pool.submit(spin)
            thread = when_running(job, lambda: job.cancel("x", running=True))
            pool.execute()
            thread.join()
        finally:
            signal.signal(signal.SIGURG, before)
        assert statuses(job) == ["cancelled"]

    def test_in_a_pool_that_executes_in_another_thread(self):
        done = []

        def execute():
            with create_job_pool(quiet=True) as pool:
                job = pool.submit(spin)
                cancelling = when_running(job, lambda: job.cancel("x", running=True))
                later = pool.submit(give, 1)
                done.append(pool.execute(return_results=True) == {later: 1})
                cancelling.join()

        thread = threading.Thread(target=execute)
        thread.start()
        thread.join()
        assert done == [True]

    def test_a_job_that_runs_in_a_thread_because_of_a_listener(self, pool):
        def listener(progress):
            if job.status is JobStatus.RUNNING:
                job.cancel("by a listener", running=True)

        job = pool.submit(spin)
        pool.add_listener(listener, max_wait=0.05)
        pool.execute()
        assert statuses(job) == ["cancelled"]
        assert str(job.error) == "by a listener"

    def test_the_next_job_is_never_hit(self, pool):
        """Jobs end in the moment in which they are cancelled, and others follow them."""
        jobs = [pool.submit(spin, 0.0005 * (number % 2)) for number in range(600)]
        victims, others = jobs[1::2], jobs[::2]
        stop = threading.Event()

        def cancel_all():
            for job in itertools.cycle(victims):
                if stop.is_set():
                    return
                if job.status is JobStatus.RUNNING:
                    job.cancel("x", running=True)

        thread = threading.Thread(target=cancel_all)
        thread.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pool.execute()
        stop.set()
        thread.join()
        assert {job.status for job in others} == {JobStatus.SUCCESS}
        assert {job.status for job in victims} <= {JobStatus.SUCCESS, JobStatus.CANCELLED}


class TestFromTheJobItself:
    def test_the_error_is_raised_there(self, pool):
        seen = []

        def body(owner):
            job.cancel("mine", running=True)
            for _ in range(3):
                pass
            seen.append("not reached")

        job = pool.submit(body)
        pool.execute()
        assert (seen, statuses(job), str(job.error)) == ([], ["cancelled"], "mine")

    def test_an_outer_job_from_a_pool_inside_it(self, pool):
        """The error ends the outer job, not just the inner one."""
        ran = []

        def body(owner):
            with create_job_pool(quiet=True) as inner:
                inner.submit(lambda owner: outer.cancel("outer", running=True) or spin(owner))
                inner.submit(lambda owner: ran.append("inner"))
                try:
                    inner.execute()
                finally:
                    ran.append("outer")
            ran.append("after")

        outer, last = pool.submit(body), pool.submit(give, 1)
        assert pool.execute(return_results=True) == {last: 1}
        assert ran == ["outer"]
        assert statuses(outer) == ["cancelled"]

    def test_an_inner_job_does_not_end_the_outer_one(self, pool):
        def body(owner):
            with create_job_pool(quiet=True) as inner:
                job = inner.submit(lambda owner: job.cancel("inner", running=True) or spin(owner))
                inner.submit(give, 2)
                return list(inner.execute(return_results=True).values()) == [2] and str(job.error)

        job = pool.submit(body)
        assert pool.execute(return_results=True) == {job: "inner"}


class TestOtherStates:
    def test_a_job_that_has_not_started(self, pool):
        job = pool.submit(nothing)
        job.cancel(running=True)
        pool.execute()
        assert statuses(job) == ["cancelled"]

    def test_a_job_that_has_ended(self, pool):
        job = pool.submit(give, 1)
        job.run()
        with pytest.warns(UserWarning, match="already finished"):
            job.cancel(running=True)
        pool.execute()

    def test_a_job_that_the_program_runs_itself(self, pool):
        job = pool.submit(nothing)
        job.change_status(JobStatus.RUNNING)
        job.cancel("by hand", running=True)
        pool.execute()
        assert str(job.error) == "by hand"

    def test_running_must_be_a_flag(self, pool):
        job = pool.submit(nothing)
        with pytest.raises(TypeError, match="running"):
            job.cancel(running="yes")
        pool.execute()


class TestTimeLimit:
    """The time limit of a run interrupts its job."""

    def test_a_long_job_is_aborted(self, pool):
        first, long, last = pool.submit(give, 1), pool.submit(sleep), pool.submit(nothing)
        began = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            pool.execute(return_results=True, timeout=0.2)
        assert time.monotonic() - began < 5
        assert caught.value.results == {first: 1}
        assert statuses(long, last) == ["aborted", "cancelled"]
        assert "its timeout of 0.2 s was over" in str(long.error)

    def test_of_a_pool_inside_a_job(self, pool):
        """Only the inner run ends."""

        def body(owner):
            with create_job_pool(quiet=True) as inner:
                inner.submit(sleep)
                with pytest.raises(TimeoutError):
                    inner.execute(timeout=0.1)
            return 5

        job = pool.submit(body)
        assert pool.execute(return_results=True) == {job: 5}

    def test_of_a_pool_around_a_job_with_a_pool(self, pool):
        ran = []

        def body(owner):
            with create_job_pool(quiet=True) as inner:
                inner.submit(sleep)
                inner.submit(ran.append)
                inner.execute()

        job = pool.submit(body)
        with pytest.raises(TimeoutError):
            pool.execute(timeout=0.1)
        assert (ran, statuses(job)) == ([], ["aborted"])


# ------------------------------------------------------------------ on ranks


@on_ranks(3)
def test_on_workers():
    with create_job_pool(quiet=True) as pool:
        if not pool.is_main():
            pool.execute()
        else:
            slow = [pool.submit(spin), pool.submit(sleep)]
            after = pool.submit(nothing, deps=slow)
            others = [pool.submit(give, n) for n in range(10)]

            def cancel(progress):
                if all(job.status is JobStatus.RUNNING for job in slow):
                    for job in slow:
                        job.cancel("enough", running=True)

            pool.add_listener(cancel)
            began = time.monotonic()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                results = pool.execute(return_results=True)
            assert time.monotonic() - began < 5
            assert results == {job: n for n, job in enumerate(others)}
            assert statuses(*slow, after) == ["cancelled"] * 3
            assert str(slow[0].error) == "enough"
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n) for n in range(20)] if pool.is_main() else []
        results = pool.execute(return_results=True)
        assert results == {job: n for n, job in enumerate(jobs)}


@on_ranks(2)
def test_the_error_on_a_worker_has_the_reason_and_cleanup_may_take_long():
    def body(owner):
        try:
            time.sleep(20)
        except JobCancelledError as error:
            time.sleep(0.2)
            raise SystemExit(str(error)) from None  # dropped, like all that it returns

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            job, other = pool.submit(body), pool.submit(give, 1)
            pool.add_listener(
                lambda p: job.status is JobStatus.RUNNING and job.cancel("a" * 500, running=True)
            )
            assert pool.execute(return_results=True) == {other: 1}
            assert str(job.error) == "a" * 500
        else:
            pool.execute()


@on_ranks(2)
def test_a_rank_that_is_inside_a_cancelled_job_when_the_run_ends_is_used_again():
    """The job does not notice that it was cancelled, and the next pool does not wait for it."""

    def body(owner):
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            with suppress(JobCancelledError):
                time.sleep(1.0)

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            job = pool.submit(body)
            pool.add_listener(
                lambda p: job.status is JobStatus.RUNNING and job.cancel(running=True)
            )
        began = time.monotonic()
        pool.execute()
        if pool.is_main():
            assert time.monotonic() - began < 0.9
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n) for n in range(5)] if pool.is_main() else []
        assert list(pool.execute(return_results=True).values()) == list(range(len(jobs)))


@on_ranks(3)
def test_the_time_limit_interrupts_the_jobs_of_workers():
    with create_job_pool(quiet=True) as pool:
        began = time.monotonic()
        if pool.is_main():
            jobs = [pool.submit(sleep), pool.submit(spin)]
            with pytest.raises(TimeoutError):
                pool.execute(timeout=0.3)
            assert statuses(*jobs) == ["aborted", "aborted"]
        else:
            with pytest.raises(WorkflowError):
                pool.execute()
        assert time.monotonic() - began < 5
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n) for n in range(5)] if pool.is_main() else []
        assert list(pool.execute(return_results=True).values()) == list(range(len(jobs)))


@on_ranks(2)
def test_the_next_jobs_of_a_worker_are_never_hit():
    def check(owner, seconds):
        spin(owner, seconds)
        return current_job().number

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = [pool.submit(check, 0.003 * (n % 2)) for n in range(400)]

            def cancel(progress):
                job = getattr(progress, "job", None)
                if job in victims and progress.status is JobStatus.RUNNING:
                    time.sleep(0.0025)
                    if job.status is JobStatus.RUNNING:
                        job.cancel("x", running=True)

            victims = set(jobs[1::2])
            pool.add_listener(cancel)
            results = pool.execute(return_results=True)
            assert {job.status for job in jobs[::2]} == {JobStatus.SUCCESS}
            assert all(results[job] == job.number for job in results)
            assert JobStatus.CANCELLED in {job.status for job in victims}
        else:
            pool.execute()
