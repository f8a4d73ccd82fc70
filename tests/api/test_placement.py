"""Options that decide where, when and how often a job runs: one rank, and several."""

from __future__ import annotations

import contextlib
import time

import pytest

from bsbpool import create_job_pool, current_job, exceptions
from bsbpool.retries import Attempt
from bsbpool.status import JobStatus

from .on_ranks import on_ranks
from .support import give


def fail(owner, *args):
    raise ValueError("no")


def fail_twice(owner):
    attempt = current_job().attempt
    if attempt < 3:
        raise ValueError(f"attempt {attempt}")
    return attempt


def rank_of(owner):
    from mpi4py import MPI

    return MPI.COMM_WORLD.Get_rank()


class Flaky:
    """Fails as often as given, in this process."""

    def __init__(self, fails, error=ValueError):
        self.left, self.error = fails, error

    def __call__(self, owner):
        self.left -= 1
        if self.left >= 0:
            raise self.error("again")
        return "done"


def outcomes(pool):
    """Run a pool; return the statuses of its jobs."""
    with contextlib.suppress(exceptions.WorkflowError):
        pool.execute()
    return [job.status.name for job in pool.jobs]


# ------------------------------------------------------------------ conditions


def test_conditions_on_other_jobs(pool):
    good, bad = pool.submit(give, 1), pool.submit(fail)
    pool.options(after_any=[bad, good]).submit(give, 2)
    pool.options(on_failure=[good, bad]).submit(give, 3)
    pool.options(on_end=[good, bad]).submit(give, 4)
    pool.options(on_failure=[good]).submit(give, 5)
    pool.options(after_any=[bad]).submit(give, 6)
    assert outcomes(pool) == [
        "SUCCESS", "FAILED", "SUCCESS", "SUCCESS", "SUCCESS", "CANCELLED", "CANCELLED",
    ]  # fmt: skip
    assert "after one of job 0 'give(1)' had failed, and none has" in notes(pool.jobs[5])
    assert "after one of job 1 'fail()' had succeeded, and none has" in notes(pool.jobs[6])


def notes(job):
    assert isinstance(job.error, exceptions.JobCancelledError)
    return " ".join(job.error.__notes__)


def test_several_conditions_must_all_be_met(pool):
    good, bad = pool.submit(give, 1), pool.submit(fail)
    view = pool.options(after_any=[good], on_failure=[bad], on_end=[good, bad], deps=[good])
    both = view.submit(give, 2)
    never = pool.options(on_failure=[good], deps=[good]).submit(give, 3)
    outcomes(pool)
    assert (both.status, never.status) == (JobStatus.SUCCESS, JobStatus.CANCELLED)


def test_a_condition_on_a_job_of_another_pool_is_refused(pool):
    with create_job_pool(quiet=True) as other:
        job = other.submit(give, 1)
        for name in ("after_any", "on_failure", "on_end"):
            with pytest.raises(exceptions.JobPoolError, match=f"^{name} contains job 0"):
                pool.options(**{name: [job]}).submit(give, 1)
        other.execute()
    pool.execute()


# ------------------------------------------------------------------ priority


def test_a_serial_run_follows_priorities(pool):
    order = []
    for number, priority in enumerate([0, -1, 2, None, 2, 0, -1]):
        view = pool if priority is None else pool.options(priority=priority)
        view.submit(lambda owner, n: order.append(n), number)
    pool.execute()
    assert order == [2, 4, 0, 3, 5, 1, 6]


# ------------------------------------------------------------------ retries


def test_a_job_runs_again_after_errors(pool):
    job = pool.options(retries=2).submit(Flaky(2))
    later = pool.submit(lambda owner, value: value + "!", job)
    results = pool.execute(return_results=True)
    assert results == {job: "done", later: "done!"}
    assert [(a.rank, str(a.error)) for a in job.attempts] == [(0, "again"), (0, "again")]
    assert isinstance(job.attempts[0], Attempt)
    assert job.error is None


def test_a_job_fails_when_it_has_no_retries_left(pool):
    job = pool.options(retries=2).submit(Flaky(3))
    assert outcomes(pool) == ["FAILED"]
    assert (len(job.attempts), str(job.error)) == (2, "again")


@pytest.mark.parametrize(
    ("retry_on", "runs_again"),
    [
        (ValueError, True),
        (KeyError, False),
        ((KeyError, ValueError), True),
        (lambda error: "again" in str(error), True),
        (lambda error: False, False),
    ],
)
def test_retry_on_selects_errors(pool, retry_on, runs_again):
    job = pool.options(retries=1, retry_on=retry_on).submit(Flaky(1))
    assert outcomes(pool) == ["SUCCESS" if runs_again else "FAILED"]
    assert len(job.attempts) == runs_again


def test_an_error_of_retry_on_is_noted(pool):
    job = pool.options(retries=1, retry_on=lambda error: error.nothing).submit(fail)
    assert outcomes(pool) == ["FAILED"]
    assert "retry_on raised AttributeError" in notes_of(job.error)


def notes_of(error):
    return " ".join(error.__notes__)


@on_ranks(1)
def test_a_job_knows_its_attempt():
    check_attempts(strict=False)
    check_attempts(strict=True)


@on_ranks(3)
def test_a_job_knows_its_attempt_on_ranks():
    check_attempts(strict=False)


def check_attempts(strict):
    with create_job_pool(quiet=True, strict=strict) as pool:
        if pool.is_main():
            named = pool.options(retries=2, name="three times").submit(fail_twice)
            assert named.attempts == ()
            plain = [pool.options(retries=2, retry_on=ValueError).submit(fail_twice)]
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert list(results.values()) == [3, 3]
            for job in (named, *plain):
                assert [str(attempt.error) for attempt in job.attempts] == [
                    "attempt 1",
                    "attempt 2",
                ]


# ------------------------------------------------------------------ resources


def devices(owner):
    time.sleep(0.002)
    return dict(current_job().resources)


@on_ranks(4)
def test_jobs_on_ranks_know_their_devices():
    with create_job_pool(quiet=True, resources={"gpu": 2, "mem": "2G"}) as pool:
        if pool.is_main():
            view = pool.options(resources={"gpu": 1, "mem": 2**30})
            jobs = [view.submit(devices) for _ in range(20)]
        results = pool.execute(return_results=True)
        if pool.is_main():
            found = [results[job] for job in jobs]
            assert {held["mem"] for held in found} == {2**30}
            assert {held["gpu"] for held in found} == {(0,), (1,)}


def test_resources_of_a_serial_run():
    with create_job_pool(quiet=True, resources={"gpu": 2, "mem": "4G"}) as pool:
        jobs = [
            pool.options(resources=needs).submit(lambda owner: dict(current_job().resources))
            for needs in ({"gpu": 1}, {"gpu": 2, "mem": "1.5G"}, {"mem": 0})
        ]
        results = pool.execute(return_results=True)
    assert [results[job] for job in jobs] == [
        {"gpu": (0,)}, {"gpu": (0, 1), "mem": 1.5 * 2**30}, {"mem": 0},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        ({"gpu": 3}, r"no rank can run the job: none has resources={'gpu': 3}"),
        ({"tpu": 1}, r"resources\['tpu'\] was not declared for this pool; use create_job_pool"),
        ({"gpu": 0.5}, r"resources\['gpu'\] must be a whole number of devices, got 0.5"),
        ({"mem": "much"}, r"resources\['mem'\] must be a number or a text like '4G', got 'much'"),
        ({"mem": "5G"}, r"no rank can run the job"),
    ],
)
def test_needs_that_cannot_be_met_are_refused(needs, message):
    with create_job_pool(quiet=True, resources={"gpu": 2, "mem": "4G"}) as pool:
        with pytest.raises(ValueError, match=message):
            pool.options(resources=needs).submit(give, 1)
        pool.execute()
        assert pool.jobs == []


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        (3, TypeError),
        ({"gpu": -1}, ValueError),
        ({"gpu": [1]}, TypeError),
        ({"gpu": 1, "host": {"gpu": 1}}, TypeError),
        ({1: {2: 3}}, TypeError),
        ({1.5: {"gpu": 1}}, TypeError),
        ({"mem": "4 apples"}, ValueError),
    ],
)
def test_wrong_declarations_are_refused(declared, error):
    with pytest.raises(error, match=r"^resources\b"):
        create_job_pool(quiet=True, resources=declared)


def test_the_environment_tells_the_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with create_job_pool(quiet=True) as pool:
        pool.options(resources={"gpu": 2}).submit(give, 1)
        with pytest.raises(ValueError, match="no rank can run the job"):
            pool.options(resources={"gpu": 3}).submit(give, 1)
        pool.execute()


# ------------------------------------------------------------------ several ranks


@on_ranks(3)
def test_targets_and_follow_on_ranks():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            there = [pool.options(targets=[2]).submit(rank_of) for _ in range(20)]
            first = [pool.submit(rank_of) for _ in range(10)]
            after = [pool.options(follow=[job], deps=[job]).submit(rank_of) for job in first]
            soft = [
                pool.options(follow=[job], follow_grace=0.01, deps=[job]).submit(rank_of)
                for job in first
            ]
            with pytest.raises(ValueError, match="targets contains rank 3"):
                pool.options(targets=[3]).submit(rank_of)
            with pytest.raises(ValueError, match="targets contains rank 0"):
                pool.options(targets=[0]).submit(rank_of)
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert {results[job] for job in there} == {2}
            assert [results[job] for job in after] == [results[job] for job in first]
            assert {results[job] for job in soft} <= {1, 2}


def wait_a_little(owner):
    time.sleep(0.005)


@on_ranks(4)
def test_resources_on_ranks_are_not_oversubscribed():
    with create_job_pool(quiet=True, resources={"gpu": 2, "mem": 3.0}) as pool:
        if pool.is_main():
            used, most = set(), []

            def begin_or_end(record):
                if (job := getattr(record, "job", None)) is None:
                    return
                held = pool.placement.resources_of(job.number).get("gpu", ())
                if record.status is JobStatus.RUNNING:
                    assert not used & set(held)
                running = [j for j in pool.jobs if j.status is JobStatus.RUNNING]
                most.append(sum(j.options.resources.get("mem", 0) for j in running))

            pool.add_listener(begin_or_end)
            for number in range(40):
                pool.options(resources={"gpu": 1 + number % 2, "mem": 1.5}).submit(wait_a_little)
        pool.execute()
        if pool.is_main():
            assert 0 < max(most) <= 3
            assert set(pool.counts.values()) == {0, 40}


@on_ranks(3)
def test_resources_of_single_ranks():
    with create_job_pool(quiet=True, resources={2: {"gpu": 1}}) as pool:
        if pool.is_main():
            jobs = [pool.options(resources={"gpu": 1}).submit(rank_of) for _ in range(10)]
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert {results[job] for job in jobs} == {2}


def fails_on_rank_1(owner):
    if rank_of(owner) == 1:
        raise ValueError("wrong rank")
    return rank_of(owner)


@on_ranks(3)
def test_a_retry_runs_elsewhere():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            view = pool.options(retries=1, retry_elsewhere=True)
            jobs = [view.submit(fails_on_rank_1) for _ in range(20)]
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert {results[job] for job in jobs} == {2}
            attempts = [attempt for job in jobs for attempt in job.attempts]
            assert attempts
            assert {attempt.rank for attempt in attempts} == {1}
            assert {str(attempt.error) for attempt in attempts} == {"wrong rank"}


@on_ranks(2)
def test_a_retry_runs_on_the_same_rank_if_it_is_the_only_one():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            job = pool.options(retries=3, retry_elsewhere=True).submit(fails_on_rank_1)
        try:
            pool.execute()
        except exceptions.WorkflowError:
            if pool.is_main():
                assert len(job.attempts) == 3
                assert job.status is JobStatus.FAILED
        else:
            pytest.fail("the run did not fail")


@on_ranks(3)
def test_priorities_on_ranks():
    with create_job_pool(quiet=True) as pool:
        order = []
        if pool.is_main():
            pool.add_listener(
                lambda record: (
                    order.append(record.job.options.priority)
                    if getattr(record, "status", None) is JobStatus.RUNNING
                    else None
                )
            )
            for priority in [0, 1, 2, 0, 1, 2] * 5:
                pool.options(priority=priority).submit(wait_a_little)
        pool.execute()
        assert order == sorted(order, reverse=True)
