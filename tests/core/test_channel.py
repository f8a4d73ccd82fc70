"""Epochs, endings and faults of the network: what arrives when it should not."""

import random
import threading

import pytest
from bsbpool._core.channel import Channel, TransportError
from bsbpool._core.frames import FrameWriter, MalformedFrameError
from bsbpool._core.sim import PipeNetwork
from bsbpool._core.status import Status
from bsbpool._core.wire import RecordKind
from bsbpool._core.worker import WorkerLoop
from cluster import Cluster, Run, cluster, wait_until

OK = 1
DONE, JOB, STOP = RecordKind.DONE, RecordKind.JOB, RecordKind.STOP


def echo(payload, buffers):
    return OK, bytes(payload), buffers


def frame(epoch, *records):
    writer = FrameWriter()
    for kind, id, options in records:
        writer.add(kind, id, **options)
    return writer.to_bytes(epoch)


def job(number, payload=b""):
    return JOB, number, {"payload": payload}


FUNCTION = (RecordKind.FUNCTION, 0, {"payload": b"echo"})
GO = (STOP, 0, {})


def worker_with(n_epochs=1):
    """Make a worker's rank that nobody else serves; return its network, and the rank."""
    ranks = Cluster(1, {"echo": echo}, runs=n_epochs)
    return ranks.network, ranks.workers[0]


def main_with_job(n_jobs=1):
    """Make a main rank whose workers never answer by themselves."""
    ranks = Cluster(1, {"echo": echo}, runs=0)
    run = Run(ranks)
    for _ in range(n_jobs):
        run.submit("echo")
    return ranks.network, run


def answer_once(network, run, *frames):
    """Let frames arrive from the worker as soon as job 0 runs."""
    waiting = list(frames)

    def inject():
        while waiting and run.engine.status(0) is Status.RUNNING:
            network.inject(1, 0, waiting.pop(0))

    run.host.on_turn = inject


# Epochs


def test_all_ranks_count_epochs_alike():
    channel = Channel(PipeNetwork(1).transport(0))
    assert [channel.open() for _ in range(3)] == [1, 2, 3]
    channel.close(2)
    assert channel.open() == 4


def test_frames_of_an_epoch_not_read_yet_wait_for_it_in_order():
    network, worker = worker_with(n_epochs=3)
    network.inject(0, 1, frame(3, FUNCTION, job(5, b"five")))
    network.inject(0, 1, frame(2, GO))
    network.inject(0, 1, frame(3, job(6, b"six")))
    network.inject(0, 1, frame(1, GO))
    network.inject(0, 1, frame(3, job(7, b"seven")))
    worker.start()
    wait_until(lambda: worker.hosts[2].logged("run") == [5, 6, 7])
    network.inject(0, 1, frame(3, GO))
    worker.join()
    assert (worker.error, worker.endings) == (None, [False] * 3)
    assert [host.logged("run") for host in worker.hosts] == [[], [], [5, 6, 7]]


def test_frames_of_an_epoch_that_ended_are_dropped():
    network, worker = worker_with(n_epochs=2)
    network.inject(0, 1, frame(1, GO))
    worker.start()
    wait_until(lambda: worker.endings)
    network.inject(0, 1, frame(1, FUNCTION, job(1)))
    network.inject(0, 1, frame(2, GO))
    worker.join()
    assert [host.log for host in worker.hosts] == [[], []]


def test_the_late_reply_of_another_run_is_not_taken_for_this_one():
    ranks = Cluster(1, {"echo": echo}, runs=0)
    Run(ranks).stop()
    run = Run(ranks)
    run.submit("echo")
    late = frame(1, (DONE, 0, {"flags": 0, "payload": b"late"}))
    answer_once(ranks.network, run, late, frame(2, (DONE, 0, {"flags": OK, "payload": b"new"})))
    assert run.execute() == {0: (OK, b"new", [])}


def test_a_busy_worker_serves_the_next_run_after_this_one():
    """Main does not wait for a cancelled job that still runs."""
    release = threading.Event()

    def linger(payload, buffers):
        return (OK if release.wait(30) else 0), b"", []

    with cluster(2, {"echo": echo, "linger": linger}, runs=2) as ranks:
        first = Run(ranks)
        first.submit("linger")
        first.host.until = lambda: first.engine.status(0) is Status.RUNNING
        first.execute()
        first.engine.cancel(0)
        first.stop()
        second = Run(ranks)
        for n in range(20):
            second.submit("echo", b"%d" % n)
        second.host.on_turn = release.set
        results = second.execute()
        second.stop()
    assert results == {n: (OK, b"%d" % n, []) for n in range(20)}


def test_pools_one_inside_the_other_keep_their_messages_apart():
    ranks = Cluster(1, {"echo": echo}, runs=0)
    outer, inner = Run(ranks), Run(ranks)
    for run in (outer, inner):
        run.submit("echo")
    reply = {"flags": OK}
    outer_reply = frame(1, (DONE, 0, reply | {"payload": b"outer"}))
    inner_reply = frame(2, (DONE, 0, reply | {"payload": b"inner"}))
    answer_once(ranks.network, inner, outer_reply, inner_reply)
    outer.host.until = lambda: outer.engine.status(0) is Status.RUNNING
    outer.execute()
    assert inner.execute() == {0: (OK, b"inner", [])}
    inner.stop()
    outer.host.until = lambda: outer.engine.unfinished == 0
    assert outer.execute() == {0: (OK, b"outer", [])}


def test_a_channel_that_goes_frees_what_nobody_read():
    network = PipeNetwork(2)
    channel = Channel(network.transport(0))
    for epoch in (1, 2, 3):
        network.inject(1, 0, frame(epoch, GO))
    assert network.waiting(0) == 3
    channel.open()
    network.fail(0)  # so that the loop ends after one look
    with pytest.raises(TransportError):
        WorkerLoop(channel, 9, None).run()
    channel.close(1)


# Endings


def test_drain_waits_until_large_messages_have_left():
    network, run = main_with_job()
    view = memoryview(bytes(100_000))
    run.host.parcels[0] = (0, 0, b"", [view])
    run.host.until = lambda: run.engine.status(0) is Status.RUNNING
    run.execute()
    assert run.channel.drain(0.01) is False
    other = Channel(network.transport(1))
    epoch = other.open()
    network.inject(0, 1, frame(1, GO))
    with pytest.raises(AttributeError):  # a host that cannot load functions, but has looked
        WorkerLoop(other, epoch, None).run()
    assert run.channel.drain(10) is True


def test_a_worker_that_leaves_says_why():
    network, run = main_with_job()
    channel = Channel(network.transport(1))
    WorkerLoop(channel, channel.open(), None).leave(b"out of memory")
    run.host.until = lambda: run.host.departed
    run.execute()
    assert run.host.departed == [(1, b"out of memory")]


# Faults


def test_a_network_that_fails_ends_the_loops():
    network, run = main_with_job()
    network.fail(0, -7)
    with pytest.raises(TransportError, match="code -7"):
        run.execute()
    network, worker = worker_with()
    network.fail(1)
    worker.start()
    worker.join()
    assert isinstance(worker.error, TransportError)


def test_a_rank_that_does_not_exist_is_an_error():
    network = PipeNetwork(2)
    for call in (network.transport, network.waiting, network.fail):
        for wrong in (-1, 2):
            with pytest.raises(IndexError, match="no rank"):
                call(wrong)
    with pytest.raises(ValueError, match="at least one"):
        PipeNetwork(0)


def test_more_workers_than_ranks_are_an_error():
    ranks = Cluster(1, {"echo": echo}, runs=0)
    ranks.workers *= 2
    run = Run(ranks)
    for _ in range(2):
        run.submit("echo")
    with pytest.raises(TransportError):
        run.execute()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ((DONE, 1, {"flags": OK}), IndexError),
        ((DONE, -1, {"flags": OK}), IndexError),
        ((DONE, 2**40, {"flags": OK}), IndexError),
        ((DONE, 0, {"flags": 3}), TypeError),
    ],
)
def test_a_reply_that_makes_no_sense_ends_the_run_loudly(reply, error):
    network, run = main_with_job()
    run.host.store = lambda *_: None
    answer_once(network, run, frame(1, reply))
    with pytest.raises(error):
        run.execute()


@pytest.mark.parametrize(("rank", "number"), [(0, 0), (1, 1)])
def test_a_reply_of_a_job_that_the_rank_does_not_run(rank, number):
    network, run = main_with_job(n_jobs=2)
    run.host.on_turn = lambda: network.inject(rank, 0, frame(1, (DONE, number, {"flags": OK})))
    with pytest.raises(RuntimeError, match="not running"):
        run.execute()


def test_records_of_unknown_kinds_are_ignored():
    network, run = main_with_job()
    unknown = [(kind, 0, {"payload": b"x"}) for kind in (0, JOB, STOP, 77, 255)]
    answer_once(network, run, frame(1, *unknown, (DONE, 0, {"flags": OK})))
    assert run.execute() == {0: (OK, b"", [])}


def test_a_worker_refuses_a_function_that_it_never_got():
    network, worker = worker_with()
    network.inject(0, 1, frame(1, job(0)))
    worker.start()
    worker.join()
    assert isinstance(worker.error, KeyError)


def test_a_frame_without_its_parts_is_refused():
    network, worker = worker_with()
    network.inject(0, 1, frame(1, (JOB, 0, {"buffers": [memoryview(b"lost")]})))
    worker.start()
    worker.join()
    assert isinstance(worker.error, MalformedFrameError)


@pytest.mark.parametrize("seed", range(30))
def test_hostile_bytes_end_a_run_with_an_error_or_not_at_all(seed):
    draw = random.Random(seed)
    network, run = main_with_job()
    good = frame(1, (DONE, 0, {"flags": OK, "payload": b"some result"}))
    hostile = bytearray(good if seed % 3 else draw.randbytes(draw.randrange(100)))
    for _ in range(draw.randrange(3) if hostile else 0):
        hostile[draw.randrange(len(hostile))] = draw.randrange(256)
    answer_once(network, run, bytes(hostile), good)
    run.host.give_up = float("inf")
    turns = iter(range(50))
    run.host.until = lambda: run.engine.unfinished == 0 or next(turns, None) is None
    run.host.deadline = lambda: 0.0
    try:
        run.execute()
    except (TransportError, MalformedFrameError, IndexError, RuntimeError, TypeError) as error:
        assert str(error)
