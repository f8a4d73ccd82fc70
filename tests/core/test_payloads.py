"""Payloads and buffers between the loops, inline and out of band."""

import gc
import random
import threading
import time

import pytest
from cluster import Run, cluster, wait_until

from bsbpool._core.scheduling.status import Status

OUT_OF_BAND = 32 * 1024
OK = 1


def echo(payload, buffers):
    return OK, bytes(payload), [memoryview(buffer) for buffer in buffers]


def grow(payload, buffers):
    return OK, bytes(payload) * OUT_OF_BAND, [memoryview(payload)] * 2


def noise(n, seed=0):
    return random.Random(seed).randbytes(n)


SIZES = [0, 1, 7, 8, 9, OUT_OF_BAND - 1, OUT_OF_BAND, OUT_OF_BAND + 1, 1 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_a_payload_of_any_size_arrives_as_it_was_sent(size):
    with cluster(1, {"echo": echo}) as ranks:
        run = Run(ranks)
        jobs = [run.submit("echo", noise(size, seed)) for seed in range(3)]
        results = run.execute()
        run.stop()
    assert results == {job: (OK, noise(size, job), []) for job in jobs}


def test_buffers_are_sent_beside_the_payload_and_belong_to_the_receiver():
    mine = bytearray(noise(100_000))
    sizes = [0, 5, OUT_OF_BAND, 70_000]
    with cluster(2, {"echo": echo}) as ranks:
        run = Run(ranks)
        for n in range(20):
            views = [memoryview(mine)[:size] for size in sizes[: n % 5]]
            run.submit("echo", noise(n * 3_000), views)
        results = run.execute()
        run.stop()
    mine[:] = bytes(len(mine))
    original = noise(100_000)
    for n, (_, payload, buffers) in results.items():
        assert payload == noise(n * 3_000)
        assert [bytes(buffer) for buffer in buffers] == [original[:s] for s in sizes[: n % 5]]


def test_received_buffers_are_writable_and_outlive_the_run():
    with cluster(1, {"grow": grow}) as ranks:
        run = Run(ranks)
        run.submit("grow", b"abcdefgh")
        _, payload, buffers = run.execute()[0]
        run.stop()
    del run, ranks
    gc.collect()
    view = memoryview(buffers[0])
    assert payload == b"abcdefgh" * OUT_OF_BAND
    assert (len(buffers[0]), view.nbytes, view.format, view.readonly) == (8, 8, "B", False)
    view[:4] = b"ABCD"
    assert bytes(buffers[0]) == b"ABCDefgh"
    assert bytes(buffers[1]) == b"abcdefgh"
    del buffers
    assert bytes(view) == b"ABCDefgh"  # the view keeps the memory


def test_strided_buffers_and_other_objects_are_refused():
    for bad in (memoryview(bytes(100))[::2], bytes(100)):
        with cluster(1, {"echo": echo}) as ranks:
            run = Run(ranks)
            run.submit("echo", b"", [bad])
            with pytest.raises(TypeError, match="contiguous memoryview"):
                run.execute()
            run.stop(aborted=True)


def test_large_results_in_sequence_cause_no_waits():
    n = 100
    with cluster(1, {"echo": echo}) as ranks:
        run = Run(ranks)
        for job in range(n):
            run.submit("echo", bytes(OUT_OF_BAND), deps=[job - 1] if job else ())
        start = time.monotonic()
        run.execute()
        took = time.monotonic() - start
        run.stop()
    assert took < 0.01 * n  # one wait of the worker takes 0.02 s


def test_a_worker_whose_result_is_not_received_stops():
    release = threading.Event()

    def large(payload, buffers):
        assert release.wait(30)
        return OK, bytes(OUT_OF_BAND), []

    with cluster(1, {"large": large}) as ranks:
        run = Run(ranks)
        run.submit("large")
        run.callbacks.until = lambda: run.engine.status(0) is Status.RUNNING
        run.execute()
        run.engine.cancel(0)
        release.set()
        wait_until(lambda: ranks.network.waiting(0))
        run.stop()


def test_large_messages_both_ways_at_once():
    """Neither side may block until the other receives its message."""
    with cluster(3, {"echo": echo}) as ranks:
        run = Run(ranks)
        for n in range(60):
            run.submit("echo", noise(200_000, n), [memoryview(noise(300_000, n))])
        results = run.execute()
        run.stop()
    for n, (_, payload, (buffer,)) in results.items():
        assert payload == noise(200_000, n)
        assert bytes(buffer) == noise(300_000, n)
