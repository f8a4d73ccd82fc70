"""Errors of jobs are raised on main unchanged, with their rank, job and traceback."""

from __future__ import annotations

import sys
import threading
import types
from typing import Any

import pytest

from bsbpool import (
    JobErroredError,
    JobPoolError,
    JobStatus,
    WorkerTraceback,
    WorkflowError,
    create_job_pool,
)

from .support import MAIN, WORKERS, fail, give, pool_works

pytestmark = [pytest.mark.mpi(min_size=2), pytest.mark.usefixtures("shape")]


class Custom(Exception):
    """Its `__init__` has other parameters than that of its base."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code, self.hint = code, hint


class Locked(Exception):
    """Cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class BadResult:
    """Raises when it is pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError("cannot be taken apart")


class BadLoad:
    """Raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return fail, (None, "cannot be put together")


def failures(fill: Any, **options: Any) -> list[tuple[Any, JobErroredError]]:
    """Execute a pool in which some jobs fail; return the failed jobs and their errors."""
    with create_job_pool(quiet=True, **options) as pool:
        good = None
        if MAIN:
            fill(pool)
            good = [pool.submit(give, n) for n in range(5)]
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        if not MAIN:
            assert "See main node" in str(caught.value.exceptions[0])
            return []
        assert good is not None and [job.result for job in good] == list(range(5))
        failed = [job for job in pool.jobs if job.status is JobStatus.FAILED]
        errors = {id(error.error): error for error in caught.value.exceptions}
        assert len(errors) == len(failed)
        return [(job, errors[id(job.error)]) for job in failed]


def only(fill: Any) -> Any:
    """Return the error of the only job that fails; None on the other ranks."""
    found = failures(fill)
    assert len(found) == MAIN
    return found[0][0].error if MAIN else None


def trace_of(error: BaseException) -> WorkerTraceback:
    """Return the traceback of an error as text."""
    assert isinstance(error.__cause__, WorkerTraceback)
    assert error.__cause__.rank in WORKERS
    return error.__cause__


def test_type_arguments_rank_job_and_traceback() -> None:
    def look_up(owner):
        return {}["nothing", 1]

    for job, job_error in failures(lambda pool: pool.submit(look_up)):
        assert isinstance(job_error, JobErroredError)
        assert "look_up" in str(job_error)
        assert job_error.__cause__ is job.error
        assert type(job.error) is KeyError
        assert job.error.args == (("nothing", 1),)
        trace = trace_of(job.error)
        assert "look_up" in trace.job
        assert 'return {}["nothing", 1]' in trace.text
        assert f"rank {trace.rank}" in str(trace)


def test_an_error_of_a_user_defined_class() -> None:
    def raise_it(owner):
        raise Custom(7, hint="try again")

    if error := only(lambda pool: pool.submit(raise_it)):
        assert type(error) is Custom
        assert (error.code, error.hint, str(error)) == (7, "try again", "code 7")


def test_an_error_of_a_class_that_only_the_job_defines() -> None:
    def raise_it(owner):
        class Inner(Exception):
            pass

        raise Inner("local")

    if error := only(lambda pool: pool.submit(raise_it)):
        assert "local" in str(error)
        assert "Inner" in trace_of(error).text


def test_an_error_that_cannot_be_pickled() -> None:
    def raise_it(owner):
        raise Locked("held")

    if error := only(lambda pool: pool.submit(raise_it)):
        assert "held" in str(error)
        trace = trace_of(error)
        assert "raise Locked" in trace.text


def test_the_cause_of_an_error_is_in_the_text() -> None:
    def raise_it(owner):
        try:
            fail(owner, "deeper")
        except ValueError as deeper:
            error = TypeError("upper")
            error.add_note("a note")
            raise error from deeper

    if error := only(lambda pool: pool.submit(raise_it)):
        assert type(error) is TypeError
        for text in ("deeper", "upper", "a note", "direct cause"):
            assert text in trace_of(error).text


def test_a_group_of_errors() -> None:
    def raise_it(owner):
        raise ExceptionGroup("several", [ValueError(1), KeyError("two")])

    if error := only(lambda pool: pool.submit(raise_it)):
        assert type(error) is ExceptionGroup
        assert [type(inner) for inner in error.exceptions] == [ValueError, KeyError]


@pytest.mark.parametrize("bad", [threading.Lock, BadResult], ids=["lock", "raises"])
def test_an_argument_that_cannot_be_pickled(bad: Any) -> None:
    def fill(pool):
        job = pool.submit(give, bad())
        pool.submit(give, deps=[job])

    for job, job_error in failures(fill):
        assert "give" in str(job_error)
        assert isinstance(job.error, (TypeError, RuntimeError))
        said = [str(job.error), *getattr(job.error, "__notes__", ())]  # if there is space
        assert any(f"{job.label} cannot be pickled" in text for text in said)
    pool_works()


@pytest.mark.parametrize("bad", [threading.Lock, BadResult], ids=["lock", "raises"])
def test_a_result_that_cannot_be_pickled(bad: Any) -> None:
    if error := only(lambda pool: pool.submit(lambda owner: bad())):
        assert isinstance(error, (TypeError, RuntimeError))
        assert "The return value of job " in trace_of(error).text
    pool_works()


def test_an_argument_that_cannot_be_unpickled() -> None:
    if error := only(lambda pool: pool.submit(give, BadLoad())):
        assert str(error) == "cannot be put together"
        trace_of(error)
    pool_works()


def test_a_result_that_cannot_be_unpickled() -> None:
    with create_job_pool(quiet=True) as pool:
        if MAIN:
            job = pool.submit(lambda owner: BadLoad())
            good = pool.submit(give, 1)
        with pytest.raises(WorkflowError):
            pool.execute()
        if MAIN:
            with pytest.raises(JobPoolError, match="not available"):
                _ = job.result
            assert str(job.error) == "cannot be put together"
            assert good.result == 1


def test_a_function_whose_module_is_on_main_only() -> None:
    module = types.ModuleType("only_on_main")
    exec("def f(owner): return 1", vars(module))  # its function is given the name of that module
    if MAIN:
        sys.modules["only_on_main"] = module
    try:
        error = only(lambda pool: pool.submit(module.f))
    finally:
        sys.modules.pop("only_on_main", None)
    if error:
        assert isinstance(error, ImportError)
        assert any("importable" in note for note in error.__notes__)
    pool_works()


def test_many_failures() -> None:
    assert len(failures(lambda pool: [pool.submit(fail, str(n)) for n in range(200)])) in (0, 200)
    pool_works()
