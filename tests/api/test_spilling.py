"""`max_memory=` limits the results that rank 0 holds in memory, and changes nothing else."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import resource
import stat
import tempfile
import threading

import numpy as np
import pytest

from bsbpool import JobPoolError, JobPoolTimeoutError, WorkflowError, create_job_pool
from bsbpool._core.jobs.handle import PickledResult, SpilledResult
from bsbpool.run_context import open_pools
from bsbpool.spilling import ResultStore

from .on_ranks import on_ranks
from .support import fail, give, nothing, statuses

MB = 1 << 20
VALUES = [
    None, True, -1, 2**70, 1.5, "text", "ä" * 300, b"b" * 400, (1, ("a", 2.5)), (2.5,) * 30,
    [1], {"a": [1, 2, 3] * 100}, bytes(100_000), "x" * 50_000, set(range(500)), bytearray(40_000),
]  # fmt: skip
"""Scalars and other objects, small and large, on either side of all limits."""


def pattern(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def make(owner, size, seed):
    return pattern(size, seed)


def make_some(owner, size):
    first = pattern(size, 1)
    return {"first": first, "again": first, "second": (pattern(2 * size, 2), "text"), "list": [1]}


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def check_some(found, size):
    assert found["first"] is found["again"]
    assert np.array_equal(found["first"], pattern(size, 1))
    assert np.array_equal(found["second"][0], pattern(2 * size, 2))
    assert (found["second"][1], found["list"]) == ("text", [1])
    found["first"][:] = 0  # arrays come back writable
    assert np.array_equal(found["second"][0], pattern(2 * size, 2))


class Full:
    """A file system that accepts a limited number of bytes."""

    def __init__(self, monkeypatch, space):
        self.space = space
        self.pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.write)

    def write(self, file, data, offset):
        if offset >= self.space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.pwrite(file, data[: self.space - offset], offset)


# ------------------------------------------------------------------ the argument


@pytest.mark.parametrize("max_memory", [1.5, 2e9, "1G", True, False, np.float64(1), [1]])
def test_a_value_that_is_not_a_number_of_bytes(max_memory):
    before = set(open_pools.reserved)
    with pytest.raises(TypeError, match=r"^max_memory must be an integer number of bytes"):
        create_job_pool(quiet=True, max_memory=max_memory)
    assert open_pools.reserved == before


def test_a_negative_number():
    with pytest.raises(ValueError, match=r"^max_memory must be at least 0, got "):
        create_job_pool(quiet=True, max_memory=-1)


@pytest.mark.parametrize("max_memory", [None, 0, 1, 10**15, np.int64(5)])
def test_any_bound_gives_the_same_results(max_memory):
    with create_job_pool(quiet=True, max_memory=max_memory) as pool:
        jobs = [pool.submit(give, value) for value in VALUES]
        results = pool.execute(return_results=True)
        assert [results[job] for job in jobs] == [job.result for job in jobs] == VALUES
        assert [type(job.result) for job in jobs] == [type(value) for value in VALUES]


# ------------------------------------------------------------------ the store


@pytest.fixture
def store():
    made = ResultStore(1000)
    yield made
    made.close()


def test_small_results_are_not_counted(store):
    assert isinstance(store.keep(bytes(128), []), PickledResult)
    assert store.held == 0
    assert isinstance(store.keep(bytes(129), []), PickledResult)
    assert store.held == 129


def test_the_limit_holds_and_results_that_fit_stay_in_memory(store):
    kept = [store.keep(bytes(n), []) for n in (600, 500, 250, 200, 150, 200)]
    assert [type(one) for one in kept] == [
        PickledResult,
        SpilledResult,
        PickledResult,
        SpilledResult,
        PickledResult,
        SpilledResult,
    ]
    assert (store.held, store.spilled) == (1000, 900)


def test_buffers_are_counted_and_each_access_returns_a_copy(store):
    payload, buffers = bytes(range(200)), [bytearray(b"a" * 700), bytearray(), bytearray(b"bcd")]
    kept = [store.keep(payload, buffers) for _ in range(3)]
    assert store.spilled == 2 * 903
    for one in kept:
        found, first = one.load(True)
        assert bytes(found) == payload
        assert first == buffers
        first[0][:] = bytes(700)
        assert one.load(True)[1] == buffers


def test_the_file_is_private_and_has_no_name(store):
    before = set(os.listdir(tempfile.gettempdir()))
    old = os.umask(0)
    try:
        store.keep(bytes(2000), [])
    finally:
        os.umask(old)
    status = os.fstat(store._file.fileno())
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_nlink == 0
    assert set(os.listdir(tempfile.gettempdir())) == before
    assert not os.get_inheritable(store._file.fileno())


def test_no_file_is_created_below_the_limit(store):
    before = descriptors()
    store.keep(bytes(900), [])
    assert descriptors() == before
    store.keep(bytes(900), [])
    assert descriptors() == before + 1
    store.close()
    assert descriptors() == before


def test_partial_writes(store, monkeypatch):
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:7], at))
    monkeypatch.setattr(os, "preadv", lambda file, views, at: preadv(file, [views[0][:11]], at))
    data = bytes(range(256)) * 8
    kept = store.keep(data, [bytearray(data)])
    assert isinstance(kept, SpilledResult)
    assert kept.load(True) == (data, [data])


def test_a_full_disk_loses_nothing(store, monkeypatch, caplog):
    full = Full(monkeypatch, space=5000)
    kept = [store.keep(bytes([n]) * 900, []) for n in range(12)]
    assert [type(one) for one in kept] == [
        PickledResult,
        *[SpilledResult] * 5,
        *[PickledResult] * 6,
    ]
    assert [bytes(one.load(True)[0]) for one in kept] == [bytes([n]) * 900 for n in range(12)]
    assert (store.held, store.spilled) == (7 * 900, 5 * 900)
    assert os.fstat(store._file.fileno()).st_size == 5 * 900  # no part of the failed write
    assert len(caplog.records) == 1
    assert "max_memory: a result cannot be written to a file" in caplog.text
    full.space = 10_000  # space was freed meanwhile
    assert isinstance(store.keep(b"z" * 900, []), SpilledResult)


@pytest.mark.parametrize("error", [FileNotFoundError, PermissionError])
def test_a_folder_that_cannot_be_written(store, monkeypatch, caplog, error):
    def refuse(**options):
        raise error("no usable temporary directory")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    kept = [store.keep(bytes(900), []) for _ in range(3)]
    assert {type(one) for one in kept} == {PickledResult}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_log_handler_may_read_results(store, monkeypatch):
    Full(monkeypatch, space=2000)
    read = []
    first = store.keep(bytes(2000), [])
    assert isinstance(first, SpilledResult)

    class Reader(logging.Handler):
        def emit(self, record):
            reader = threading.Thread(target=lambda: read.append(first.load(True)))
            reader.start()
            reader.join(20)

    handler = Reader()
    logging.getLogger("bsbpool").addHandler(handler)
    try:
        store.keep(bytes(3000), [])
    finally:
        logging.getLogger("bsbpool").removeHandler(handler)
    assert len(read) == 1


def test_threads_store_and_read_concurrently(store):
    wrong = []

    def work(seed):
        kept = [(n, store.keep(bytes([seed]) * n, [bytearray([n % 256]) * n])) for n in sizes]
        for n, one in kept:
            if one.load(True) != (bytes([seed]) * n, [bytes([n % 256]) * n]):
                wrong.append((seed, n))

    sizes = range(150, 450)
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.held <= 1000


# ------------------------------------------------------------------ in one process


class TestSerial:
    def test_arrays(self):
        with create_job_pool(quiet=True, max_memory=0) as pool:
            jobs = [pool.submit(make_some, size) for size in (10, 40_000, MB)]
            results = pool.execute(return_results=True)
            for job, size in zip(jobs, (10, 40_000, MB), strict=True):
                check_some(job.result, size)
                check_some(results[job], size)
                check_some(job.result, size)
            assert {type(job._outcome) for job in jobs} == {SpilledResult}

    @pytest.mark.parametrize("max_memory", [0, 10**9])
    def test_each_access_returns_the_value_at_the_end_of_the_job(self, max_memory):
        """The pickled value is stored, so later changes of the object are not seen."""
        arrays, lists = [np.zeros(MB)], [[1, 2, 3]]
        with create_job_pool(quiet=True, max_memory=max_memory) as pool:
            array = pool.submit(lambda owner: arrays[0])
            other = pool.submit(lambda owner: lists[0])
            pool.execute()
            arrays[0] += 1
            lists[0].append(4)
            assert not array.result.any()
            assert other.result == [1, 2, 3]
            assert array.result is not array.result
            array.result[:] = 5
            assert not array.result.any()

    def test_results_that_cannot_be_pickled_stay_in_memory(self, caplog):
        lock = threading.Lock()
        with create_job_pool(quiet=True, max_memory=0) as pool:
            jobs = [pool.submit(lambda owner: lock) for _ in range(3)]
            assert list(pool.execute(return_results=True).values()) == [lock] * 3
            assert jobs[0].result is lock
        (record,) = (one for one in caplog.records if one.levelno >= logging.WARNING)
        assert "cannot be pickled" in record.getMessage()

    def test_results_that_the_user_sets(self):
        with create_job_pool(quiet=True, max_memory=1000) as pool:
            jobs = [pool.submit(nothing) for _ in range(3)]
            jobs[0].set_result(bytes(5000))
            jobs[1].run()
            pool.execute()
            assert isinstance(jobs[0]._outcome, SpilledResult)
            assert [job.result for job in jobs] == [bytes(5000), None, None]

    def test_jobs_in_their_own_thread(self):
        with create_job_pool(quiet=True, max_memory=1000) as pool:
            pool.add_listener(lambda progress: None, max_wait=1)
            jobs = [pool.submit(make, 40_000, seed) for seed in range(3)]
            pool.execute()
            assert {type(job._outcome) for job in jobs} == {SpilledResult}
            assert np.array_equal(jobs[2].result, pattern(40_000, 2))

    def test_callbacks_and_listeners_read_results(self):
        with create_job_pool(quiet=True, max_memory=0) as pool:
            seen = []
            jobs = [pool.submit(give, [n] * 1000) for n in range(5)]
            for job in jobs:
                job.on_completion(lambda job: seen.append(job.result))
            pool.execute()
            assert seen == [[n] * 1000 for n in range(5)]

    def test_the_limit_is_for_all_results_and_the_file_is_removed_with_the_pool(self):
        before = descriptors()
        with create_job_pool(quiet=True, max_memory=MB) as pool:
            jobs = [pool.submit(make, 300_000, seed) for seed in range(20)]
            pool.execute()
            assert MB - 310_000 < pool._store.held <= MB
            assert pool._store.spilled >= 17 * 300_000
            assert descriptors() == before + 1
        assert descriptors() == before
        with pytest.raises(JobPoolError, match="not available"):
            _ = jobs[-1].result

    @pytest.mark.parametrize("how", ["fails", "is cancelled", "times out", "raises"])
    def test_the_file_is_removed_however_the_run_ends(self, how):
        before = descriptors()
        with (
            contextlib.suppress(ZeroDivisionError),
            create_job_pool(quiet=True, max_memory=0) as pool,
        ):
            kept = pool.submit(make, 40_000, 1)
            other = pool.submit(fail if how == "fails" else nothing, deps=[kept])
            if how == "is cancelled":
                kept.on_completion(lambda job: other.cancel())
            error = {"fails": WorkflowError, "times out": JobPoolTimeoutError}.get(how)
            with pytest.raises(error) if error else contextlib.nullcontext():
                if how == "times out":
                    pool.submit(nothing).change_status(type(kept.status).RUNNING)
                    kept.run()
                pool.execute(timeout=0 if how == "times out" else None)
            assert np.array_equal(kept.result, pattern(40_000, 1))
            assert descriptors() == before + 1
            if how == "raises":
                raise ZeroDivisionError
        assert descriptors() == before

    def test_a_disk_that_cannot_be_read(self, monkeypatch):
        with create_job_pool(quiet=True, max_memory=0) as pool:
            job = pool.submit(give, [1] * 1000)
            pool.execute()
            os.ftruncate(pool._store._file.fileno(), 10)
            with pytest.raises(JobPoolError, match="cannot be read from the temp") as caught:
                _ = job.result
            assert isinstance(caught.value.__cause__, OSError)

    def test_100000_small_results_create_no_file(self):
        with create_job_pool(quiet=True, max_memory=0) as pool:
            jobs = pool.queue_many(give, zip(range(100_000)))
            results = pool.execute(return_results=True)
            assert (pool._store.held, pool._store.spilled, pool._store._file) == (0, 0, None)
            assert results == {job: n for n, job in enumerate(jobs)}

    def test_without_a_limit_results_are_the_objects_themselves(self, pool):
        value = [1] * 1000
        job = pool.submit(lambda owner: value)
        pool.execute()
        assert job.result is value


# ------------------------------------------------------------------ on several ranks


@on_ranks(2)
def test_all_kinds_of_results_from_another_rank():
    for max_memory in (None, 0, 50_000):
        with create_job_pool(quiet=True, max_memory=max_memory) as pool:
            jobs, some = [], []
            if pool.is_main():
                jobs = [pool.submit(give, value) for value in VALUES]
                some = [pool.submit(make_some, size) for size in (10, 40_000, 3 * MB)]
            results = pool.execute(return_results=True)
            assert [results[job] for job in jobs] == [job.result for job in jobs]
            assert [job.result for job in jobs] == (VALUES if pool.is_main() else [])
            for job, size in zip(some, (10, 40_000, 3 * MB), strict=False):
                check_some(job.result, size)
                check_some(job.result, size)
                check_some(results[job], size)
            if max_memory is not None and pool.is_main():
                assert pool._store.held <= max_memory
                assert pool._store.spilled > 9 * MB
            if max_memory == 0:
                assert pool._store._file is None or pool.is_main()


@on_ranks(2)
def test_memory_is_bounded():
    size, n = 8 * MB, 40
    before = resident()
    most = []
    with create_job_pool(quiet=True, max_memory=4 * size) as pool:
        jobs = [pool.queue(make, (size, seed)) for seed in range(n)] if pool.is_main() else []
        pool.add_listener(lambda progress: most.append(resident() - before))
        pool.execute()
        if pool.is_main():
            assert 3 * size <= pool._store.held <= 4 * size
            assert len(os.listdir("/proc/self/fd")) > 3
            assert max(most) < 12 * size, [m // MB for m in most]
            for seed, job in enumerate(jobs):
                assert np.array_equal(job.result, pattern(size, seed))
            gc.collect()
            assert resident() - before < 12 * size


@on_ranks(3)
def test_failures_and_cancellations_between_spilled_results():
    with create_job_pool(quiet=True, max_memory=100_000) as pool:
        if not pool.is_main():
            with pytest.raises(WorkflowError):
                pool.execute()
            return
        good = [pool.queue(make, (40_000, seed)) for seed in range(30)]
        bad = [pool.submit(fail, "x" * 1000) for _ in range(10)]
        broken = [pool.submit(nothing, deps=[job]) for job in bad]
        seen = []
        good[0].on_completion(lambda job: seen.append(np.array_equal(job.result, pattern(40_000))))
        good[1].on_completion(lambda job: good[29].cancel())
        with pytest.raises(WorkflowError) as caught:
            pool.execute()
        assert len(caught.value.exceptions) == 10
        assert seen == [True]
        assert set(statuses(*bad, *broken)) == {"failed", "cancelled"}
        for seed, job in enumerate(good[:29]):
            assert np.array_equal(job.result, pattern(40_000, seed))
        assert pool._store.held <= 100_000


@on_ranks(2)
def test_a_full_disk_on_main():
    space = 20 * 40_000
    pwrite = os.pwrite

    def write(file, data, offset):
        if offset >= space:
            raise OSError(errno.ENOSPC, "no space left")
        return pwrite(file, data[: space - offset], offset)

    os.pwrite = write
    with create_job_pool(quiet=True, max_memory=100_000) as pool:
        jobs = [pool.queue(make, (40_000, seed)) for seed in range(40)] if pool.is_main() else []
        results = pool.execute(return_results=True)
        for seed, job in enumerate(jobs):
            assert np.array_equal(job.result, pattern(40_000, seed))
            assert np.array_equal(results[job], pattern(40_000, seed))
        if jobs:
            assert pool._store.held > 100_000
            assert 10 * 40_000 < pool._store.spilled <= space


class CountedArgument:
    """Small in memory, large as a pickle; counts its picklings and measures the memory of main."""

    packed = 0
    most = 0

    def __init__(self, size):
        self.size = size

    def __reduce__(self):
        CountedArgument.packed += 1
        CountedArgument.most = max(CountedArgument.most, resident())
        return len, (bytes(self.size),)


@on_ranks(2)
def test_arguments_are_pickled_when_they_are_sent_and_not_kept():
    size, n = 8 * MB, 40
    with create_job_pool(quiet=True) as pool:
        jobs, seen = [], []
        if pool.is_main():
            before = resident()
            jobs = [pool.submit(give, CountedArgument(size)) for _ in range(n)]
            assert CountedArgument.packed == 0
            for job in jobs:
                job.on_completion(lambda job: seen.append(CountedArgument.packed))
        results = pool.execute(return_results=True)
        if pool.is_main():
            assert [results[job] for job in jobs] == [size] * n
            assert CountedArgument.packed == n
            assert seen[0] < n / 2  # the others were pickled later
            assert CountedArgument.most - before < 10 * size
            assert resident() - before < 10 * size
