"""Results of other ranks are correct and writable, and each access returns a new copy."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from bsbpool import JobPoolError, create_job_pool

from .on_ranks import on_ranks
from .support import nothing

MB = 1 << 20
SIZES = (100, 40_000, MB, 8 * MB)
"""Sizes in bytes: inside the message, beside it, and as a large part."""


def pattern(size, seed=0):
    block = np.random.default_rng(seed).integers(0, 256, 65_521, dtype=np.uint8)
    return np.resize(block, size)


def make(owner, size, seed):
    return pattern(size, seed)


def make_some(owner, size):
    """Results with several arrays, one of them twice, and other values."""
    first = pattern(size, 1)
    return {"first": first, "again": first, "second": (pattern(size, 2), "text"), "list": [1]}


def execute(fill):
    """Yield main's jobs and results from inside the block; nothing on the other ranks."""
    with create_job_pool(quiet=True) as pool:
        jobs = fill(pool) if pool.is_main() else []
        results = pool.execute(return_results=True)
        if pool.is_main():
            yield jobs, results


def fill_sizes(pool):
    return [pool.queue(make, (size, seed)) for size in SIZES for seed in range(2)]


@on_ranks(2)
def test_arrays_in_the_dict_of_results_are_right_and_writable():
    for jobs, results in execute(fill_sizes):
        assert list(results) == jobs
        for job in jobs:
            job.result[:] = 0  # a copy
            assert np.array_equal(results[job], pattern(*job.serialize()[1][1]))
            assert results[job].flags.writeable
            results[job] += 1
        for job in jobs:  # no result shares memory with another
            assert np.array_equal(results[job], pattern(*job.serialize()[1][1]) + np.uint8(1))


@on_ranks(2)
def test_each_access_to_a_result_returns_a_new_object():
    with create_job_pool(quiet=True) as pool:
        jobs = fill_sizes(pool) if pool.is_main() else []
        pool.execute()
        for job in jobs:
            right = pattern(*job.serialize()[1][1])
            first, second = job.result, job.result
            assert first is not second
            assert not np.shares_memory(first, second)
            assert first.flags.writeable
            first[:] = 0
            assert np.array_equal(second, right)
            second += 1
            assert np.array_equal(job.result, right)


@on_ranks(2)
def test_results_of_several_arrays():
    def fill(pool):
        return [pool.queue(make_some, (size,)) for size in SIZES]

    for jobs, results in execute(fill):
        for job, size in zip(jobs, SIZES, strict=True):
            for result in (job.result, results[job]):
                assert result["first"] is result["again"]
                assert np.array_equal(result["first"], pattern(size, 1))
                assert np.array_equal(result["second"][0], pattern(size, 2))
                assert (result["second"][1], result["list"]) == ("text", [1])
                result["first"][:] = 0
                assert np.array_equal(result["second"][0], pattern(size, 2))
            job.result["list"].append(2)
            assert job.result["list"] == [1]


@on_ranks(2)
def test_arrays_outlive_their_pool_and_job():
    kept, jobs = [], []
    for jobs, results in execute(fill_sizes):
        kept += [(job.serialize()[1][1], job.result, results[job]) for job in jobs]
    for job in jobs:
        with pytest.raises(JobPoolError, match="not available"):
            _ = job.result
    job = jobs = results = None
    gc.collect()
    for what, read, handed in kept:
        assert np.array_equal(read, pattern(*what))
        assert np.array_equal(handed, pattern(*what))


@on_ranks(2)
def test_large_results_are_freed_with_the_pool():
    """The memory of results that were never read is free after the block."""
    import resource

    def megabytes():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / MB

    sizes = []
    for _ in range(3):
        with create_job_pool(quiet=True) as pool:
            if pool.is_main():
                jobs = [pool.queue(make, (8 * MB, seed)) for seed in range(16)]
            pool.execute()
            inside = megabytes()
        gc.collect()
        sizes.append(megabytes())
    if pool.is_main():
        assert inside - sizes[-1] > 100  # of 128
        assert sizes[-1] - sizes[0] < 30
        assert {job.status.value for job in jobs} == {"success"}


@on_ranks(2)
def test_plain_results_are_the_same_by_all_ways_of_access():
    values = [None, True, 0, -1, 2**40, 2**70, 1.5, "text", "ä", b"b", (), (1, ("a", 2.5)), [1]]
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = [pool.queue(lambda owner, value: value, (value,)) for value in values]
            empty = pool.queue(nothing)
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert [job.result for job in jobs] == values == [results[job] for job in jobs]
            assert [type(results[job]) for job in jobs] == [type(value) for value in values]
            assert results[empty] is None
            assert empty.result is None


# ------------------------------------------------------------------ in one process


@pytest.mark.parametrize("size", SIZES)
def test_in_one_process_a_result_is_the_object_that_the_job_returned(pool, size):
    made = pattern(size)
    ref = weakref.ref(made)
    job = pool.submit(lambda owner: made)
    results = pool.execute(return_results=True)
    assert results[job] is job.result is ref()
