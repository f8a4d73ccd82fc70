"""The APIs of other pools, without the original packages; see also tests/interop/test_moving."""

import itertools
import threading
from concurrent.futures import CancelledError, Future, wait

import pytest

from bsbpool.futures.registry import worker_groups
from bsbpool.integrations.mpi4py_futures import (
    MPICommExecutor,
    MPIPoolExecutor,
    collect,
    compose,
    get_comm_workers,
)
from bsbpool.integrations.mpipool import MPIExecutor, MPIPool
from bsbpool.integrations.schwimmbad import MPIPool as Bath
from bsbpool.integrations.schwimmbad import SerialPool, choose_pool

from .on_ranks import on_ranks

# ------------------------------------------------------------------ composed futures


def test_collecting_ends_with_the_first_failure():
    parts = Future(), Future(), Future()
    whole = collect(parts)
    parts[1].set_exception(LookupError("one"))
    assert isinstance(whole.exception(timeout=10), LookupError)
    assert parts[0].cancelled() and parts[2].cancelled()


def test_collecting_a_future_twice():
    part = Future()
    whole = collect([part, part])
    part.set_result(1)
    assert whole.result(timeout=10) == [1, 1]


@pytest.mark.parametrize("make", [lambda part: collect([part]), compose])
def test_cancellation_is_passed_in_both_directions(make):
    part = Future()
    whole = make(part)
    assert whole.cancel()
    assert part.cancelled()
    assert wait([whole], timeout=10).done == {whole}  # waiting threads were notified
    part = Future()
    whole = make(part)
    assert part.cancel()
    assert whole.cancelled()


def test_a_hook_that_raises():
    part = Future()
    broken = compose(part, resulthook=lambda x: 1 / x)
    part.set_result(0)
    assert isinstance(broken.exception(timeout=10), ZeroDivisionError)


# ------------------------------------------------------------------ mpi4py.futures


def test_options_of_mpi4py():
    with MPIPoolExecutor(python_exe="x", mpi_info={}, main=False, use_pkl5=True) as executor:
        assert executor.submit(abs, -1).result() == 1
    with pytest.raises(TypeError, match="colour"):
        MPIPoolExecutor(colour="red")


def test_settings_do_not_change_the_program(tmp_path, monkeypatch):
    """With one process, the worker is a thread of it."""
    monkeypatch.chdir(tmp_path.parent)
    with MPIPoolExecutor(wdir=str(tmp_path), initializer=print, initargs=("once",)) as executor:
        assert executor.submit(abs, -1).result() == 1
    import os

    assert os.getcwd() == str(tmp_path.parent)


def test_entering_twice():
    pool = MPICommExecutor()
    with pool, pytest.raises(RuntimeError, match="entered"), pool:
        pass
    with pool as executor:
        assert executor.submit(abs, -1).result() == 1


def test_worker_state_is_set_inside_calls_only():
    with pytest.raises(RuntimeError, match="not accessible"):
        get_comm_workers()


@on_ranks(3)
def test_all_ranks_without_the_runner():
    """The call is not collective, so the error says how to start the program instead of hanging."""
    with pytest.raises(RuntimeError, match=r"bsbpool\.run"), MPIPoolExecutor():
        pass


def _together(n):
    workers = get_comm_workers()
    return workers.allreduce(1), n


@on_ranks(3)
def test_workers_communicate_with_each_other():
    for _ in range(3):
        with MPICommExecutor(root=1) as executor:
            if executor is not None:
                ours = [executor.submit(_together, n) for n in range(2)]
                assert [future.result() for future in ours] == [(2, 0), (2, 1)]
        with pytest.raises(RuntimeError):
            get_comm_workers()


@on_ranks(3)
def test_an_error_of_the_root_releases_the_workers():
    if _rank() == 0:
        with pytest.raises(LookupError), MPICommExecutor():
            raise LookupError
    else:
        with MPICommExecutor() as executor:
            pass
        assert executor is None


@pytest.mark.parametrize("wrong", [{"root": 7}, {"comm": 3}])
def test_arguments_are_checked_where_workers_wait(wrong, monkeypatch):
    """The communicator and the root are not needed there."""
    monkeypatch.setattr(worker_groups, "main", object())
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        MPICommExecutor(**wrong)


def _size_or_none(_):
    try:
        return get_comm_workers().Get_size()
    except RuntimeError:
        return None


@on_ranks(4)
def test_workers_that_run_calls_communicate_with_each_other():
    for root, n in itertools.product((0, 2), (1, 2, 3, 9)):
        with MPICommExecutor(root=root, max_workers=n) as executor:
            if executor is not None:
                assert executor.num_workers == min(n, 3)
                sizes = executor.map(_size_or_none, range(50), chunksize=1)
                assert set(sizes) == {min(n, 3)}


def _rank():
    from mpi4py import MPI

    return MPI.COMM_WORLD.Get_rank()


# ------------------------------------------------------------------ mpipool


def test_an_endless_batch_is_read_as_calls_end():
    with MPIExecutor() as pool:
        pool.workers_exit()
        batch = pool.submit_batch(abs, itertools.count())
        assert [future.result() for future in itertools.islice(batch.ordered, 50)] == [*range(50)]
        assert not batch.submitted
        pool.shutdown(cancel_futures=True)


def test_items_that_cannot_be_read():
    def items():
        yield from range(5)
        raise LookupError("five")

    with MPIExecutor() as pool:
        batch = pool.submit_batch(abs, items())
        with pytest.raises(LookupError, match="five"):
            batch.result()
        got = []
        with pytest.raises(LookupError, match="five"):
            got.extend(future.result() for future in pool.submit_batch(abs, items()).ordered)
        assert batch.finished


def test_many_calls_that_fail_at_once():
    """Each call ends before a callback is added; the next one must not start recursively."""
    with MPIExecutor() as pool:
        batch = pool.submit_batch(len, [threading.Lock()] * 3000)
        assert len(list(batch)) == 3000
        assert all(isinstance(future.exception(), TypeError) for future in batch.ordered)


def test_idle_workers_are_counted():
    with MPIExecutor() as pool:
        gate = pool.submit(abs, -1)
        gate.result()
        wait([gate])
        assert pool.size == 1
        assert pool.idling in (0, 1)
        assert pool.submit_batch(abs, [1, 2]).wait(timeout=10).not_done == set()


def test_results_of_a_pool():
    with MPIPool() as pool:
        with pytest.raises(ValueError, match="not ready"):
            pool.map_async(_slow, [1] * 20).successful()
        many = pool.map_async(abs, [-1, -2])
        many.wait(10)
        assert many.ready() and many.successful()
        assert many.get(timeout=10) == [1, 2]
    with pytest.raises(RuntimeError):
        pool.apply_async(abs, (1,))


def _slow(n):
    return sum(range(200_000)) + n


def test_terminating_a_pool():
    pool = MPIPool()
    results = pool.map_async(_slow, range(2000))
    pool.terminate()
    pool.join()
    with pytest.raises(CancelledError):
        results.get(timeout=30)


@on_ranks(3)
def test_a_worker_without_guard():
    from bsbpool.integrations.mpipool import PoolGuardError

    pool = MPIExecutor()
    if pool.is_main():
        with pool:
            assert pool.submit(abs, -1).result() == 1
        return
    assert not pool.open
    with pytest.raises(PoolGuardError, match="workers_exit"), pool as inside:
        with pytest.warns(UserWarning, match="workers_exit"):
            assert inside.is_worker() and not inside.is_main()
        inside.submit(abs, -1)
    for late in (pool.submit, pool.submit_batch, pool.map):
        with pytest.raises(PoolGuardError):
            late(abs, [-1])


@on_ranks(3)
def test_a_worker_without_guard_of_a_pool():
    from bsbpool.integrations.mpipool import PoolGuardError

    pool = MPIPool()
    if pool.is_main():
        return pool.close()
    for name in ("map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered"):
        with pytest.raises(PoolGuardError):
            getattr(pool, name)(max, [[-1]])


@pytest.mark.parametrize("end", [MPIExecutor.shutdown, lambda pool: pool.__exit__(*[None] * 3)])
def test_the_end_of_the_block_waits_for_batches(end):
    pool = MPIExecutor()
    batches = [pool.submit_batch(abs, range(n)) for n in (0, 1, 50)]
    end(pool)
    assert [batch.result() for batch in batches] == [[], [0], [*range(50)]]


def test_an_error_in_the_block_does_not_wait_for_batches():
    with pytest.raises(LookupError), MPIExecutor() as pool:
        batch = pool.submit_batch(abs, itertools.count())
        raise LookupError
    with pytest.raises(RuntimeError, match="shutdown"):
        batch.result()


@on_ranks(3)
def test_an_error_of_the_main_rank_releases_the_workers():
    if _rank() == 0:
        with pytest.raises(LookupError), MPIExecutor() as pool:
            pool.workers_exit()
            raise LookupError
    else:
        with MPIExecutor() as pool:
            pool.workers_exit()


# ------------------------------------------------------------------ schwimmbad


@pytest.mark.parametrize("kind", [SerialPool, Bath])
def test_chunks_are_those_of_schwimmbad(kind):
    with kind() as pool:
        pool.size = 3
        assert pool.batched_map(tuple, range(5)) == [
            ((0, 2), [0, 1]),
            ((2, 4), [2, 3]),
            ((4, 5), [4]),
        ]
        assert pool.batched_map(tuple, []) == []
        received = []
        assert pool.map(abs, [-1, 2], callback=received.append) == received == [1, 2]
        pool.wait()


def test_choosing():
    assert type(choose_pool()) is SerialPool
    with choose_pool(mpi=True) as pool:
        assert (pool.size, pool.is_master(), Bath.enabled()) == (1, True, False)
    with pytest.raises(ValueError, match="mpiexec -n 5"):
        choose_pool(processes=4)


def test_a_task_that_raises():
    """The error is raised; schwimmbad aborts all ranks."""
    with Bath() as pool:
        with pytest.raises(ZeroDivisionError):
            pool.map((1).__truediv__, [1, 0])
        assert pool.map(abs, [-1]) == [1]
    pool.close()
