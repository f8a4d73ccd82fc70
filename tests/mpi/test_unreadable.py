"""An error while an object is pickled or unpickled fails its own job and no other."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from bsbpool import (
    JobCancelledError,
    JobErroredError,
    JobPoolError,
    JobStatus,
    WorkflowError,
    create_job_pool,
)

from .support import MAIN, fail, give, pool_works, work

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]
LARGE = bytes(100_000)


class TakesNoNotes(Exception):
    """An error to which no notes can be added."""

    def add_note(self, note: str) -> None:
        raise RuntimeError(note)


KINDS = (SystemExit, KeyboardInterrupt, GeneratorExit, ZeroDivisionError, TakesNoNotes)


def explode(kind: type[BaseException]) -> None:
    raise kind("exploded")


class Bad:
    """Raises when it is pickled or unpickled; its pickle contains some bytes."""

    def __init__(self, when: str, kind: type[BaseException], more: bytes = b"") -> None:
        self.when, self.kind, self.more = when, kind, more

    def __call__(self, owner: Any) -> None:
        """Do nothing, as a job's function."""

    def __reduce__(self) -> Any:
        if self.when == "pickled":
            explode(self.kind)
        return explode, (self.kind,), {"more": self.more}


class BadError(Bad, Exception):
    """An error that raises when it is pickled or unpickled."""


class OnlyLoadsOnWorkers(Exception):
    """An error that main cannot unpickle."""

    def __reduce__(self) -> Any:
        return load_on, (os.getpid(),)


def load_on(pid: int) -> BaseException:
    if os.getpid() != pid:
        explode(SystemExit)
    return OnlyLoadsOnWorkers()


def raise_bad(owner: Any, when: str, kind: type[BaseException]) -> None:
    raise BadError(when, kind)


def raise_for_worker(owner: Any) -> None:
    raise OnlyLoadsOnWorkers


@pytest.mark.parametrize("max_memory", [None, 0])
def test_an_error_in_pickling_fails_its_job_and_the_run_continues(max_memory: Any) -> None:
    with create_job_pool(quiet=True, max_memory=max_memory) as pool:
        jobs: dict[Any, type[BaseException]] = {}
        if MAIN:
            for kind in KINDS:
                for when in ("pickled", "unpickled"):
                    bad = Bad(when, kind)
                    jobs[pool.submit(give, bad)] = kind
                    jobs[pool.queue(give, kwargs={"value": bad})] = kind
                    jobs[pool.submit(bad)] = kind
                    jobs[pool.submit(lambda owner, w=when, k=kind: Bad(w, k))] = kind
                    pool.submit(raise_bad, when, kind)
            pool.submit(raise_for_worker)
            good = [pool.submit(give, n) for n in range(5)]
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            assert [job.result for job in good] == list(range(5))
            assert {job.status for job in pool.jobs} == {JobStatus.FAILED, JobStatus.SUCCESS}
            assert sum(job.status is JobStatus.SUCCESS for job in pool.jobs) == len(good)
            for job, kind in jobs.items():
                assert type(job.error) is kind
    pool_works()


def take_long(owner: Any, value: Any) -> None:
    work(owner, 30.0)


def test_ctrl_c_while_a_job_is_pickled_ends_the_run() -> None:
    class Interrupting:
        def __reduce__(self) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return int, ()

    with create_job_pool(quiet=True) as pool:
        if MAIN:
            before = signal.getsignal(signal.SIGINT)
            # If rank 0 runs jobs, another thread pickles this one. It may send it, and the job may
            # begin, before the main thread sees the signal.
            job = pool.submit(take_long, Interrupting())
        with pytest.raises(KeyboardInterrupt if MAIN else WorkflowError):
            pool.execute()
        if MAIN:
            assert job.status in (JobStatus.CANCELLED, JobStatus.ABORTED)
            assert signal.getsignal(signal.SIGINT) is before
    pool_works()


def test_a_result_that_main_cannot_unpickle_fails_its_job_and_cancels_the_dependents() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            bad = pool.submit(lambda owner: Bad("unpickled", ZeroDivisionError))
            after = pool.submit(give, 2, deps=[bad])
            good = pool.submit(give, {"a": 1})
        with pytest.raises(WorkflowError) as caught:
            pool.execute(return_results=True)
        if MAIN:
            assert [job.status.value for job in (bad, after, good)] == [
                "failed", "cancelled", "success",
            ]  # fmt: skip
            assert type(bad.error) is ZeroDivisionError
            note = f"The result of {bad.label} cannot be unpickled on this rank."
            assert bad.error.__notes__[0] == note
            assert type(after.error) is JobCancelledError
            assert after.error.__cause__ is bad.error
            assert good.result == {"a": 1}
            (failure,) = caught.value.exceptions
            assert isinstance(failure, JobErroredError)
            assert failure.error is bad.error
    pool_works()


@pytest.mark.parametrize("return_results", [True, False])
def test_a_large_unreadable_result_fails_its_job_when_it_is_accessed(return_results: bool) -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            bad = pool.submit(lambda owner: Bad("unpickled", ZeroDivisionError, LARGE))
            after = pool.submit(give, 2, deps=[bad])
            good = pool.submit(give, {"a": 1})
        if return_results:
            with pytest.raises(WorkflowError):
                pool.execute(return_results=True)
        else:
            pool.execute()
        if MAIN:
            if not return_results:
                with pytest.raises(JobPoolError, match="unpickled") as caught:
                    _ = bad.result
                assert caught.value.__cause__ is bad.error
            assert bad.status is JobStatus.FAILED
            assert type(bad.error) is ZeroDivisionError
            assert after.status is JobStatus.SUCCESS  # the job had run
            assert (after.result, good.result) == (2, {"a": 1})
    pool_works()


def test_a_dependent_on_another_rank_names_the_job_that_failed() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            bad = pool.submit(fail, "because")
            between = pool.submit(give, 1, deps=[bad])
            after = pool.submit(give, 2, deps=[between])
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            assert str(after.error) == "Job killed for dependency failure"
            assert "job 0" in after.error.__notes__[0]
    if MAIN:
        assert after.error.__cause__ is between.error.__cause__ is bad.error
