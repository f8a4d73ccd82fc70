"""Executors of several ranks."""

from __future__ import annotations

import time

import pytest
from mpi4py import MPI

from bsbpool.futures import BrokenExecutor, InitializerError, PoolExecutor, backend_ranks
from helpers.executor_maps import CHECKS
from helpers.executors import LONG, nap, picky, square

from .support import MAIN, WORLD, pool_works

pytestmark = pytest.mark.mpi(min_size=2)
STATE: list[int] = []


def rank(n: int = 0) -> int:
    return WORLD.rank


def slow_rank(n: int = 0) -> int:
    time.sleep(0.02)
    return WORLD.rank


@pytest.mark.parametrize("jobs_a_pool", [backend_ranks.JOBS_PER_POOL, 100])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_inside_a_with_block(monkeypatch, check, jobs_a_pool) -> None:
    monkeypatch.setattr(backend_ranks, "JOBS_PER_POOL", jobs_a_pool)
    with PoolExecutor() as executor:
        assert (executor is not None) == MAIN
        if executor is not None:
            check(executor)
    pool_works()


def test_all_ranks_but_the_root_work() -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            assert executor.num_workers == WORLD.size - 1
            futures = [executor.submit(slow_rank) for _ in range(10 * WORLD.size)]
            assert {f.result(LONG) for f in futures} == set(range(1, WORLD.size))


def test_any_rank_may_be_the_root() -> None:
    for root in [*range(WORLD.size), *range(WORLD.size)]:
        with PoolExecutor(root=root) as executor:
            assert (executor is not None) == (WORLD.rank == root)
            if executor is not None:
                assert root not in set(executor.map(rank, range(50)))


def test_max_workers_limits_the_number_of_workers() -> None:
    for _ in range(5):
        with PoolExecutor(max_workers=1) as executor:
            if executor is not None:
                assert executor.num_workers == executor._max_workers == 1
                futures = [executor.submit(slow_rank) for _ in range(10)]
                assert {f.result(LONG) for f in futures} == {1}
    with PoolExecutor(max_workers=1000) as executor:
        if executor is not None:
            assert executor.num_workers == WORLD.size - 1


def test_a_communicator_of_some() -> None:
    half = WORLD.Split(WORLD.rank % 2, WORLD.rank)
    with PoolExecutor(half) as executor:
        assert (executor is not None) == (half.rank == 0)
        if executor is not None:
            ranks = set(executor.map(rank, range(50)))
            assert {r % 2 for r in ranks} == {WORLD.rank % 2}
    half.Free()


def test_entered_many_times() -> None:
    executor = PoolExecutor()
    for n in range(50):
        with executor as entered:
            if entered is not None:
                assert entered.submit(square, n).result(LONG) == n * n
    pool_works()


def remember(value: int) -> None:
    STATE.append(value)


def state(n: int = 0) -> tuple[int, list[int]]:
    time.sleep(0.005)
    return WORLD.rank, list(STATE)


def test_the_initializer_runs_once_on_each_worker() -> None:
    STATE.clear()
    for n in range(1, 4):
        with PoolExecutor(initializer=remember, initargs=(n,)) as executor:
            if executor is not None:
                seen = [executor.submit(state) for _ in range(20 * WORLD.size)]
                seen = [future.result(LONG) for future in seen]
                seen += [executor.submit(lambda: state()).result(LONG)]
                seen += executor.map(state, range(20), chunksize=1)
                assert {r for r, _ in seen} == set(range(1, WORLD.size))
                assert all(values == list(range(1, n + 1)) for _, values in seen)


def test_an_initializer_that_raises_breaks_the_executor() -> None:
    with PoolExecutor(initializer=picky, initargs=(7,)) as executor:
        if executor is not None:
            assert isinstance(executor.submit(square, 3).exception(LONG), InitializerError)
            with pytest.raises(BrokenExecutor, match="KeyError"):
                executor.submit(square, 3)
    pool_works()


def test_an_initializer_that_cannot_be_sent_breaks_the_executor() -> None:
    import threading

    with PoolExecutor(initializer=square, initargs=(threading.Lock(),)) as executor:
        if executor is not None:
            with pytest.raises(BrokenExecutor):
                executor.submit(square, 3)
    pool_works()


def test_an_error_inside_the_block_releases_the_workers() -> None:
    try:
        with PoolExecutor() as executor:
            if executor is not None:
                future = executor.submit(nap, 0.1)
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert MAIN and future.result() == 0.1
    else:
        assert not MAIN
    pool_works()


def test_ctrl_c_inside_the_block_waits_for_nothing() -> None:
    try:
        with PoolExecutor() as executor:
            if executor is not None:
                futures = [executor.submit(nap, 0.5) for _ in range(100)]
                while not futures[0].running():
                    time.sleep(0.001)
                began = time.monotonic()
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert MAIN
        assert time.monotonic() - began < 0.4
        assert futures[-1].cancelled()
        assert all(future.done() for future in futures)
    WORLD.Barrier()
    pool_works()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"root": WORLD.size}, ValueError),
        ({"max_workers": 0}, ValueError),
        ({"x": 1}, TypeError),
        ({"cache_items": 3}, TypeError),
    ],
)
def test_bad_arguments_are_refused_before_any_rank_waits(options, kind) -> None:
    if WORLD.rank == WORLD.size - 1:  # the other ranks need not take part
        with pytest.raises(kind):
            PoolExecutor(**options)
        with pytest.raises(ValueError, match="COMM_NULL"):
            PoolExecutor(MPI.COMM_NULL)


def test_it_must_be_entered() -> None:
    with pytest.raises(RuntimeError, match=r"bsbpool\.run"):
        PoolExecutor().submit(square, 3)


def count_down(n: int) -> int:
    return n - 1


@pytest.mark.parametrize("most", [1, 7, 100])
def test_an_executor_replaces_its_pool(monkeypatch, most) -> None:
    """With dependencies, chains of callbacks, cancellations and one long call."""
    monkeypatch.setattr(backend_ranks, "JOBS_PER_POOL", most)
    with PoolExecutor() as executor:
        if executor is not None:
            pools = {id(executor._backend._pool)}
            long = executor.submit(nap, 0.3)
            futures = []
            for n in range(500):
                before = futures[-1:] if n % 5 else []
                futures.append(executor.options(deps=before).submit(square, n))
                if n % 50 == 0:
                    executor.submit(square, n).cancel()
                    pools.add(id(executor._backend._pool))
            assert [future.result(LONG) for future in futures] == [n * n for n in range(500)]
            assert list(executor.map(square, range(500), chunksize=1)) == [
                n * n for n in range(500)
            ]
            assert long.result(LONG) == 0.3
            many = [executor.submit(square, n) for n in range(300)]
            executor.shutdown()
            assert all(future.done() for future in many)
            assert len(executor._backend._pool.run_context.jobs) < 2_000
    pool_works()


def test_finished_calls_are_freed() -> None:
    import gc
    import sys

    with PoolExecutor() as executor:
        if executor is not None:
            payload = bytes(1000)
            gc.collect()
            before = sys.getrefcount(payload)
            for future in [executor.submit(len, payload) for _ in range(1000)]:
                assert future.result(LONG) == 1000
            assert list(executor.map(len, [payload] * 1000)) == [1000] * 1000
            del future
            executor.submit(square, 1).result(LONG)  # all previous calls are processed
            gc.collect()
            assert sys.getrefcount(payload) <= before + 2


def test_waiting_uses_little_cpu() -> None:
    with PoolExecutor() as executor:
        if executor is not None:
            executor.submit(square, 3).result(LONG)
            began = time.process_time()
            time.sleep(1)
            assert time.process_time() - began < 0.05
