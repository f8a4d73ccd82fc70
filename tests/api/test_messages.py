"""Errors name the argument, the value, the allowed values and the remedy."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from bsbpool import (
    JobPool,
    JobPoolContextError,
    JobPoolError,
    JobStatus,
    Workflow,
    create_job_pool,
    pool_cached_function,
)
from bsbpool.function_job import FunctionJob
from bsbpool.futures import PoolExecutor
from bsbpool.integrations._async_results import Result
from bsbpool.integrations.schwimmbad import choose_pool

from .support import fail, give, nothing

NEW_POOL = "open a new pool for more jobs."


@pool_cached_function
def atlas(*names):
    """A cached function."""
    return names


def ended(*jobs):
    """Return a pool that has been executed and left, with its jobs."""
    with create_job_pool(quiet=True) as pool:
        made = [pool.submit(f) for f in jobs]
        pool.execute()
    return pool, made


class TestPools:
    """Calls of a pool at the wrong time."""

    def test_33_queueing_in_a_pool_that_was_executed(self, pool):
        pool.execute()
        with pytest.raises(JobPoolError) as refused:
            pool.queue(nothing)
        assert str(refused.value) == f"This pool has already been executed; {NEW_POOL}"

    def test_33_executing_again(self, pool):
        pool.execute()
        with pytest.raises(JobPoolContextError) as refused:
            pool.execute()
        assert str(refused.value) == f"This pool has already been executed; {NEW_POOL}"

    @pytest.mark.parametrize("misuse", [JobPool.execute, lambda pool: pool.submit(nothing)])
    def test_33_a_pool_whose_block_has_ended(self, misuse):
        pool, _ = ended()
        with pytest.raises(JobPoolError) as refused:
            misuse(pool)
        assert str(refused.value) == f"This pool's `with` block has ended; {NEW_POOL}"

    def test_33_executing_before_the_block(self):
        with pytest.raises(JobPoolContextError) as refused:
            create_job_pool(quiet=True).execute()
        assert "use `with create_job_pool() as pool:`" in str(refused.value)


class TestResults:
    """Errors of results that are not available."""

    def why(self, job):
        with pytest.raises(JobPoolError) as refused:
            _ = job.result
        head, _, reason = str(refused.value).partition(" is not available: ")
        assert head == f"Result of {job.label}"
        return reason

    def test_33_before_the_run(self, pool):
        assert self.why(pool.submit(nothing)) == "the job is PENDING; call pool.execute() first."

    def test_33_of_a_job_that_is_in_no_pool(self, pool):
        assert "call pool.put(job) first" in self.why(FunctionJob(pool, nothing, (), {}))

    def test_33_of_a_job_that_failed(self, pool):
        job = pool.submit(fail)
        job.run()
        assert self.why(job) == "the job is FAILED; job.error says why."

    def test_33_after_the_block(self):
        _, (job,) = ended(nothing)
        assert self.why(job) == "results exist until the `with` block of the pool ends."


def pools(**options):
    return create_job_pool(quiet=True, **options)


BAD = {
    "comm must be an mpi4py communicator, got 4": lambda pool: pools(comm=4),
    "owner._comm must be an mpi4py communicator, got 'c'": lambda pool: pools(owner=Odd("c")),
    "max_memory must be an integer number of bytes or None, got '4'": lambda pool: pools(
        max_memory="4"
    ),
    "max_memory must be an integer number of bytes or None, got True": lambda pool: pools(
        max_memory=True
    ),
    "max_memory must be at least 0, got -1": lambda pool: pools(max_memory=-1),
    "max_wait must be a number of seconds or None, got 'a'": lambda pool: pool.add_listener(
        print, "a"
    ),
    "max_wait must be at least 0, got -1": lambda pool: pool.add_listener(print, -1),
    "max_wait must be at least 0, got nan": lambda pool: pool.add_listener(print, float("nan")),
    "timeout must be a number of seconds or None, got 'a'": lambda pool: pool.execute(timeout="a"),
    "timeout must be at least 0, got -1": lambda pool: pool.execute(timeout=-1),
    "cache_items must be a list, got atlas; use cache_items=[atlas]": lambda pool: pool.queue(
        nothing, cache_items=atlas
    ),
    "cache_items must be a list, got 'abc'; use cache_items=['abc']": lambda pool: FunctionJob(
        pool, nothing, (), {}, cache_items="abc"
    ),
    "f must be callable, got 3; give a function, and its arguments in args": lambda pool: (
        pool.queue(3)
    ),
    "args must be a tuple or list of arguments, got 3; use (x,) for a single argument": (
        lambda pool: FunctionJob(pool, nothing, 3, {})
    ),
    "deps must be a list of jobs, got 3; use deps=[job]": lambda pool: pool.queue(nothing, deps=3),
    "deps must contain jobs as returned by queue(), got 3": lambda pool: pool.queue(
        nothing, deps=[3]
    ),
    "job must be a Job, got nothing; use queue() for a function": lambda pool: pool.put(nothing),
    "listener must be callable, got 3": lambda pool: pool.add_listener(3),
    "cb must be a function that takes the job, got 3": lambda pool: pool.submit(
        nothing
    ).on_completion(3),
    "e must be an exception, got 'no'": lambda pool: pool.submit(nothing).set_exception("no"),
    "status must be a JobStatus, got 'failed'": lambda pool: pool.submit(nothing).change_status(
        "failed"
    ),
    "nodes must be a list of nodes, got 3; use [node]": lambda pool: pool.schedule(3),
    "scheduler must be callable or None, got 3": lambda pool: pool.schedule([], 3),
    "phases must be a list of names, got 'placement'": lambda pool: Workflow("placement"),
    "phases must be a list of names, got 3": lambda pool: Workflow(3),
    "atlas() is cached, so its arguments must be hashable: unhashable type: 'list'": lambda pool: (
        atlas([])
    ),
    "PoolExecutor() got an unexpected argument 'mp_context'; options of calls are cache_items, "
    "capture_output, dependency_timeout, follow_grace, gather, journaled, key, key_version, "
    "name, placement, priority, ranks, requires, retries, "
    "retries_if_lost, retry_elsewhere, retry_on, seed, submitter, targets, "
    "timeout": lambda pool: PoolExecutor(mp_context=3),
    "PoolExecutor() does not take deps, since there are no futures yet; use "
    "executor.options(deps=...)": lambda pool: PoolExecutor(deps=[]),
    "max_workers must be a positive integer or None, got '4'": lambda pool: PoolExecutor(
        max_workers="4"
    ),
    "max_workers must be greater than 0, or None, got 0": lambda pool: PoolExecutor(max_workers=0),
    "root=9 is out of range: the communicator has 1 rank": lambda pool: PoolExecutor(root=9),
    "root must be the number of a rank, got '0'": lambda pool: PoolExecutor(root="0"),
    "comm must be an mpi4py communicator, got 'world'": lambda pool: PoolExecutor("world"),
    "initializer must be callable or None, got 3": lambda pool: PoolExecutor(initializer=3),
    "initargs must be a tuple of arguments, got 3; use (x,) for a single argument": lambda pool: (
        PoolExecutor(initializer=print, initargs=3)
    ),
    "processes must be 1 without MPI, got 4; use mpi=True and start the program with "
    "`mpiexec -n 5`, or use schwimmbad's MultiPool": lambda pool: choose_pool(processes=4),
}
"""Calls with bad arguments, by the messages of their errors."""


class Odd:
    """An owner whose `_comm` is not a communicator."""

    def __init__(self, comm):
        self._comm = comm


@pytest.mark.parametrize("text", BAD)
def test_33_a_bad_argument(pool, text):
    with pytest.raises((TypeError, ValueError)) as refused:
        BAD[text](pool)
    assert str(refused.value) == text


def test_33_bad_arguments_of_calls():
    with PoolExecutor() as executor:
        for text, misuse in {
            "options() got an unexpected argument 'what'": lambda: executor.options(what=3),
            "cache_items must be a list, got atlas; use": lambda: executor.options(
                cache_items=atlas
            ),
            "deps must be a list of futures, got 3; use deps=[future]": lambda: executor.options(
                deps=3
            ),
            "deps must contain futures as returned by submit(), got 3": lambda: executor.options(
                deps=[3]
            ),
            "chunksize must be a positive integer or None, got 'a'": lambda: executor.map(
                abs, [1], chunksize="a"
            ),
            "timeout must be a number of seconds or None, got 'a'": lambda: executor.map(
                abs, [1], timeout="a"
            ),
        }.items():
            with pytest.raises(TypeError) as refused:
                misuse()
            assert str(refused.value).startswith(text)


def test_33_an_object_that_cannot_be_pickled_is_named():
    generator = "cannot be pickled: cannot pickle 'generator' object"
    with PoolExecutor() as executor:
        for text, begin in {
            f"The return value of iter_of() {generator}": lambda: executor.submit(iter_of, 3),
            f"The function or the arguments of abs() {generator}": lambda: executor.submit(
                abs, (n for n in ())
            ),
        }.items():
            error = begin().exception()
            assert str(error) == text
        with pytest.raises(TypeError) as raised:
            list(executor.map(iter_of, [1, 2]))
        assert str(raised.value) == f"The return value of iter_of() {generator}"
        with pytest.raises(TypeError) as raised:
            list(executor.map(abs, [(n for n in ())]))
        assert str(raised.value) == f"An item of the map, <generator object <genexpr>>, {generator}"


def iter_of(n):
    """Return an object that cannot be pickled."""
    return (k for k in range(n))


def test_33_statuses_that_users_cannot_set(pool):
    job = pool.submit(give, 1)
    with pytest.raises(JobPoolError) as refused:
        job.change_status(JobStatus.FAILED)
    assert str(refused.value) == (
        "The status of job 0 'give(1)' cannot be set to FAILED; allowed are RUNNING, SUCCESS and "
        "CANCELLED, and set_exception() for FAILED"
    )


def test_33_a_result_that_is_not_ready():
    with pytest.raises(ValueError, match=r"^The result is not ready; call wait\(\) first$"):
        Result(Future()).successful()
