"""Main and worker loops together, over pipes: what goes in comes out."""

import threading
import time

import pytest
from cluster import Run, cluster

from bsbpool._core.scheduling.status import Status

OK, FAILED = 1, 0


def double(payload, buffers):
    return OK, b"%d" % (2 * int(bytes(payload))), []


def fail(payload, buffers):
    return FAILED, b"no", []


def echo(payload, buffers):
    return OK, bytes(payload), buffers


def slowly(f):
    """Pause before each call, so that the other ranks proceed."""

    def after_a_pause(*args):
        time.sleep(0.002)
        return f(*args)

    return after_a_pause


def logged_anywhere(ranks, kind):
    return [what for worker in ranks.workers for what in worker.callbacks[0].logged(kind)]


def statuses(run):
    return [run.engine.status(job) for job in range(len(run.engine))]


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_results_of_many_jobs(n_workers):
    with cluster(n_workers, {"double": double}) as ranks:
        run = Run(ranks)
        for n in range(400):
            run.submit("double", b"%d" % n, deps=range(max(0, n - 3), n, 2) if n % 2 else ())
        results = run.execute()
        run.stop()
    assert results == {n: (OK, b"%d" % (2 * n), []) for n in range(400)}
    assert sorted(logged_anywhere(ranks, "run")) == list(range(400))
    assert [worker.endings for worker in ranks.workers] == [[False]] * n_workers


def test_jobs_that_fail_or_cannot_be_sent_and_their_dependents():
    with cluster(2, {"double": double, "fail": fail}) as ranks:
        run = Run(ranks)
        run.submit("fail")
        run.submit("double", b"1", deps=[0])
        run.submit("double", b"2")
        del run.callbacks.parcels[run.submit("double", b"3")]
        run.submit("double", b"4", deps=[3])
        results = run.execute()
        run.stop()
    assert statuses(run) == [
        Status.FAILED, Status.CANCELLED, Status.SUCCESS, Status.FAILED, Status.CANCELLED,
    ]  # fmt: skip
    assert results == {0: (FAILED, b"no", []), 2: (OK, b"4", [])}


def test_a_function_is_sent_once_to_a_worker_until_it_is_evicted():
    with cluster(2, {"double": double, "echo": echo}) as ranks:
        run = Run(ranks)
        for n in range(100):
            run.submit("echo" if n % 2 else "double", b"%d" % n)
        run.execute()
        once = logged_anywhere(ranks, "load")
        assert all(once.count(name) <= 2 for name in ranks.functions)
        run.callbacks.to_evict = [0]
        run.submit("echo", b"")
        run.execute()
        run.submit("double", b"4")
        results = run.execute()
        run.stop()
    assert logged_anywhere(ranks, "load").count("double") == once.count("double") + 1
    assert results[101] == (OK, b"8", [])


def test_required_functions_are_sent_before_the_function():
    """Once, and on each worker that gets the function."""
    with cluster(2, {"double": double, "echo": echo, "first": echo, "second": echo}) as ranks:
        run = Run(ranks)
        run.callbacks.requirements = {0: [2, 3], 1: [3]}
        for n in range(100):
            run.submit("echo" if n % 3 else "double", b"%d" % n)
        run.execute()
        run.stop()
    for worker in range(2):
        loaded = ranks.callbacks_of(worker).logged("load")
        assert len(loaded) == len(set(loaded))
        for name, required in (("double", {"first", "second"}), ("echo", {"second"})):
            if name in loaded:
                assert required <= set(loaded[: loaded.index(name)])
    assert set(logged_anywhere(ranks, "load")) == {"double", "echo", "first", "second"}


def test_jobs_submitted_and_cancelled_while_the_loop_runs():
    release, running = threading.Event(), threading.Event()

    def block(payload, buffers):
        running.set()
        assert release.wait(30)
        return OK, b"", []

    with cluster(1, {"double": double, "block": block}) as ranks:
        run = Run(ranks)
        for n in range(50):  # short ones, so that jobs are sent ahead
            run.submit("double", b"%d" % n)
        run.execute()
        blocker = run.submit("block")
        behind = [run.submit("double", b"%d" % n) for n in range(5)]
        dependent = run.submit("double", b"0", deps=[behind[1]])
        late = []

        def disturb():
            if running.is_set() and not late:
                assert run.engine.cancel(behind[1]) is Status.QUEUED
                assert run.engine.cancel(blocker) is Status.RUNNING
                late.append(run.submit("double", b"21"))
            elif late:
                release.set()  # in a later iteration, when the loop has notified the worker

        run.callbacks.on_turn = disturb
        results = run.execute()
        run.callbacks.until = lambda: run.engine.idle  # until the cancelled job has run as well
        run.execute()
        run.stop()
    cancelled = (blocker, behind[1], dependent)
    assert results[late[0]] == (OK, b"42", [])
    assert [run.engine.status(job) for job in cancelled] == [Status.CANCELLED] * 3
    assert set(cancelled) & set(ranks.callbacks_of(0).logged("run")) == {blocker}


def test_cache_items_are_announced_before_and_withdrawn_after_their_jobs():
    """Also if the jobs of one iteration fill several frames."""
    filling = bytes(20_000)
    with cluster(2, {"echo": echo}) as ranks:
        run = Run(ranks)
        for _ in range(50):  # short ones, so that jobs are sent ahead
            run.submit("echo")
        run.execute()
        first, second = (run.engine.add_cache_item(token) for token in (7, 2**64 - 1))
        both = run.engine.add_cache_set([first, second])
        one = run.engine.add_cache_set([second])
        jobs = [run.submit("echo", filling, cache_set=both) for _ in range(20)]
        last = run.submit("echo", deps=jobs, cache_set=one)
        run.callbacks.encode_job = slowly(run.callbacks.encode_job)
        run.execute()
        run.stop()
    for worker in (0, 1):
        keep = set()
        for kind, what in ranks.callbacks_of(worker).log:
            if kind == "run":
                assert what not in jobs or keep == {7, 2**64 - 1}
                assert what != last or keep == {2**64 - 1}
            keep = keep | set(what) if kind == "needed" else keep
            keep = keep - set(what) if kind == "unneeded" else keep
        assert not keep


def test_an_aborted_run_ends_on_all_ranks():
    started = threading.Event()

    def linger(payload, buffers):
        started.set()
        return OK, b"", []

    with cluster(3, {"linger": linger, "double": double}) as ranks:
        run = Run(ranks)
        for _ in range(1000):
            run.submit("linger")
        run.callbacks.until = started.is_set
        run.execute()
        run.stop(aborted=True)
        run.engine.abort_run()
    assert [worker.endings for worker in ranks.workers] == [[True]] * 3
    assert run.engine.unfinished == 0


def test_a_short_result_does_not_wait_behind_a_long_job():
    seen = threading.Event()

    def long(payload, buffers):
        return (OK, b"", []) if seen.wait(20) else (FAILED, b"nobody saw the short one", [])

    with cluster(1, {"double": double, "long": long}) as ranks:
        run = Run(ranks)
        for n in range(50):
            run.submit("double", b"%d" % n)
        run.execute()
        short = run.submit("double", b"1")
        run.submit("long")

        def look():
            if run.engine.status(short) is Status.SUCCESS:
                seen.set()

        run.callbacks.on_turn = look
        run.execute()
        run.stop()
    assert statuses(run) == [Status.SUCCESS] * 52
