"""Arguments and results of any size and layout."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from bsbpool import create_job_pool

from .support import MAIN, WORLD, give, run

pytestmark = pytest.mark.mpi(min_size=2)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def pattern(size: int, seed: int = 0) -> np.ndarray:
    """Return bytes that differ between seeds and between nearby positions."""
    block = np.random.default_rng(seed).integers(0, 256, 65_521, dtype=np.uint8)
    return np.resize(block, size)


def check(owner: Any, array: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Check an argument; return another pattern of the same size."""
    assert np.array_equal(array, pattern(size, seed))
    return pattern(size, seed + 1)


@pytest.mark.parametrize(
    "size",
    [0, 1, 32 * KIB - 1, 32 * KIB, 32 * KIB + 1, MIB + 1, 64 * MIB],
    ids=lambda size: f"{size}B",
)
def test_arrays_of_any_size(size: int) -> None:
    n = 2 if size > MIB else 20
    results = run(lambda pool: [pool.submit(check, pattern(size, i), size, i) for i in range(n)])
    for i, result in enumerate(results or ()):
        assert np.array_equal(result, pattern(size, i + 1))


@pytest.mark.parametrize("size", [1, 32 * KIB - 1, 32 * KIB, 32 * KIB + 1, 3 * MIB])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_of_any_size(size: int, kind: type) -> None:
    sent = kind(pattern(size).tobytes())
    for result in run(lambda pool: [pool.submit(give, sent) for _ in range(5)]) or ():
        assert type(result) is kind
        assert result == sent


def test_arrays_of_any_layout() -> None:
    big = np.arange(60_000, dtype=np.float64).reshape(200, 300)
    arrays = [
        big,
        big.T,
        big[::2, ::3],
        np.asfortranarray(big),
        big > 100,
        np.array(3.5),
        np.empty((0, 4)),
        np.array(["a", "bc", None], dtype=object),
        np.zeros(5_000, dtype=[("x", "f8"), ("n", "i4"), ("s", "S3")]),
        np.arange(20_000, dtype=">i4"),
        np.ma.masked_less(np.arange(10_000.0), 50),
    ]
    results = run(lambda pool: [pool.submit(give, array) for array in arrays])
    for sent, got in zip(arrays, results or (), strict=False):
        assert type(got) is type(sent)
        assert (got.dtype, got.shape) == (sent.dtype, sent.shape)
        assert np.array_equal(np.asarray(got), np.asarray(sent))


def test_many_arrays_in_one_object() -> None:
    parts = {n: [pattern(33 * KIB, n), n, pattern(10, n)] for n in range(1_200)}
    result = run(lambda pool: pool.submit(give, parts))
    for n in parts if MAIN else ():
        assert np.array_equal(result[n][0], parts[n][0])
        assert np.array_equal(result[n][2], parts[n][2])


def test_an_array_in_several_places_remains_one_object() -> None:
    def same(owner, pair):
        return pair[0] is pair[1]

    array = pattern(100 * KIB)
    assert run(lambda pool: pool.submit(same, (array, array))) in (True, None)


def test_arguments_and_results_can_be_written_to() -> None:
    def add_one(owner, array):
        array += 1
        return array

    for size in (100, 100 * KIB):
        sent = np.zeros(size)
        result = run(lambda pool, sent=sent: pool.submit(add_one, sent))
        if MAIN:
            assert not sent.any()
            assert (result == 1).all()
            result += 1


@pytest.mark.parametrize("size", [100, 100 * KIB])
def test_each_access_to_a_result_returns_a_copy(size: int) -> None:
    with create_job_pool(quiet=True) as pool:
        job = pool.submit(give, pattern(size)) if MAIN else None
        pool.execute()
        if job is not None:
            job.result[:] = 0
            assert np.array_equal(job.result, pattern(size))


def test_large_arrays_both_ways_at_once() -> None:
    """If both sides waited until a large message is sent, they would deadlock."""
    n, size = 150, MIB
    results = run(lambda pool: [pool.submit(check, pattern(size, i), size, i) for i in range(n)])
    for i, result in enumerate(results or ()):
        assert np.array_equal(result, pattern(size, i + 1))


def test_large_and_small_jobs_mixed() -> None:
    sizes = [0, 10, 40 * KIB, 1_000, 5 * MIB, 31 * KIB] * 30
    results = run(lambda pool: [pool.submit(give, pattern(size)) for size in sizes])
    for size, result in zip(sizes, results or (), strict=False):
        assert np.array_equal(result, pattern(size))


@pytest.mark.slow
@pytest.mark.limit(240)
def test_arrays_beyond_2_gib() -> None:
    """Open MPI 5.0 has no functions for messages of this size."""
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if WORLD.bcast(memory) < 12 * GIB:
        pytest.skip("needs 12 GiB of free memory")
    size = 2 * GIB + 12_345

    def probe(owner, array):
        assert array.nbytes == size
        assert array[0] == 1 and array[GIB] == 2 and array[-1] == 3
        array[[0, GIB, -1]] = 4, 5, 6
        return array

    def fill(pool):
        array = np.zeros(size, dtype=np.uint8)
        array[[0, GIB, -1]] = 1, 2, 3
        return pool.submit(probe, array)

    result = run(fill)
    if MAIN:
        assert result.nbytes == size
        assert list(result[[0, GIB, -1]]) == [4, 5, 6]
        assert np.count_nonzero(result) == 3
