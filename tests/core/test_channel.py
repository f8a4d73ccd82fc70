"""Run ids and ends of runs: frames that arrive too early or too late, and unfinished sends."""

import threading

import pytest
from alone import (
    DONE,
    FUNCTION,
    GO,
    LEAVE,
    OK,
    answer_once,
    echo,
    frame,
    job,
    main_alone,
    worker_alone,
)
from cluster import Cluster, Run, cluster, wait_until

from bsbpool._core.comm.channel import Channel, TransportError
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.inprocess_transport import InProcessNetwork

# Run ids


def test_all_ranks_assign_the_same_run_ids():
    channel = Channel(InProcessNetwork(1).transport(0))
    assert [channel.open_run() for _ in range(3)] == [1, 2, 3]
    channel.close_run(2)
    assert channel.open_run() == 4


def test_frames_of_a_later_run_wait_for_it_in_order():
    network, worker = worker_alone(n_runs=3)
    network.inject(0, 1, frame(3, FUNCTION, job(5, b"five")))
    network.inject(0, 1, frame(2, GO))
    network.inject(0, 1, frame(3, job(6, b"six")))
    network.inject(0, 1, frame(1, GO))
    network.inject(0, 1, frame(3, job(7, b"seven")))
    worker.start()
    wait_until(lambda: worker.callbacks[2].logged("run") == [5, 6, 7])
    network.inject(0, 1, frame(3, GO))
    worker.join()
    assert (worker.error, worker.endings) == (None, [False] * 3)
    assert [callbacks.logged("run") for callbacks in worker.callbacks] == [[], [], [5, 6, 7]]


def test_frames_of_an_ended_run_are_dropped():
    network, worker = worker_alone(n_runs=2)
    network.inject(0, 1, frame(1, GO))
    worker.start()
    wait_until(lambda: worker.endings)
    network.inject(0, 1, frame(1, FUNCTION, job(1)))
    network.inject(0, 1, frame(2, GO))
    worker.join()
    assert [callbacks.log for callbacks in worker.callbacks] == [[], []]


def test_a_late_reply_of_an_earlier_run_is_dropped():
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
        first.callbacks.until = lambda: first.engine.status(0) is Status.RUNNING
        first.execute()
        first.engine.cancel(0)
        first.stop()
        second = Run(ranks)
        for n in range(20):
            second.submit("echo", b"%d" % n)
        second.callbacks.on_turn = release.set
        results = second.execute()
        second.stop()
    assert results == {n: (OK, b"%d" % n, []) for n in range(20)}


def test_nested_pools_do_not_mix_their_messages():
    ranks = Cluster(1, {"echo": echo}, runs=0)
    outer, inner = Run(ranks), Run(ranks)
    for run in (outer, inner):
        run.submit("echo")
    reply = {"flags": OK}
    outer_reply = frame(1, (DONE, 0, reply | {"payload": b"outer"}))
    inner_reply = frame(2, (DONE, 0, reply | {"payload": b"inner"}))
    answer_once(ranks.network, inner, outer_reply, inner_reply)
    outer.callbacks.until = lambda: outer.engine.status(0) is Status.RUNNING
    outer.execute()
    assert inner.execute() == {0: (OK, b"inner", [])}
    inner.stop()
    outer.callbacks.until = lambda: outer.engine.unfinished == 0
    assert outer.execute() == {0: (OK, b"outer", [])}


def test_only_one_run_at_a_time_reads_a_channel():
    ranks = Cluster(1, {"echo": echo}, runs=0)
    outer, inner = Run(ranks), Run(ranks)
    outer.callbacks.on_turn = inner.execute
    with pytest.raises(RuntimeError, match="Another pool"):
        outer.execute()
    assert inner.execute() == {}


def test_a_channel_frees_unread_frames():
    network = InProcessNetwork(2)
    channel = Channel(network.transport(0))
    for run_id in (1, 2, 3):
        network.inject(1, 0, frame(run_id, GO))
    assert network.waiting(0) == 3
    channel.open_run()
    network.fail(0)  # so that the loop ends after one poll
    with pytest.raises(TransportError):
        WorkerLoop(channel, 9, None).run()
    channel.close_run(1)


# Ends of runs


def test_drain_waits_until_large_messages_are_sent():
    network, run = main_alone()
    view = memoryview(bytes(100_000))
    run.callbacks.parcels[0] = (0, 0, b"", [view])
    run.callbacks.until = lambda: run.engine.status(0) is Status.RUNNING
    run.execute()
    assert run.channel.drain(0.01) is False
    other = Channel(network.transport(1))
    run_id = other.open_run()
    network.inject(0, 1, frame(1, GO))
    assert WorkerLoop(other, run_id, None).run() is False  # stopped, but it has polled
    assert run.channel.drain(10) is True


def test_a_worker_that_leaves_gives_the_reason():
    network, run = main_alone()
    channel = Channel(network.transport(1))
    WorkerLoop(channel, channel.open_run(), None).send_leave(b"out of memory")
    run.callbacks.until = lambda: run.callbacks.terminated
    run.execute()
    assert run.callbacks.terminated == [(1, b"out of memory")]


# Ranks that were still inside a job when the run ended


def with_busy_rank():
    """Make a run without rank 1, which is still inside a job of the previous run."""
    network, before = main_alone()
    before.stop(aborted=True)
    before.channel.mark_away(1, before.run_id)
    run = Run(before.ranks)
    run.callbacks.until = lambda: True
    return network, run


def leave(run_id):
    return frame(run_id, (LEAVE, 0, {"payload": b"the run has ended"}))


def test_a_busy_rank_gets_jobs_when_it_is_back():
    network, run = with_busy_rank()
    run.execute()
    assert (run.engine.n_unavailable, run.channel.away) == (1, {1})
    network.inject(1, 0, leave(1))
    run.execute()
    assert (run.engine.n_unavailable, run.channel.away) == (0, set())


def test_a_rank_that_came_back_and_failed_gets_no_jobs():
    network, run = with_busy_rank()
    network.inject(1, 0, leave(1))
    run.channel.receive_unread()
    network.kill(1)
    run.execute()
    assert (run.engine.n_unavailable, run.channel.lost) == (1, {1})


def test_a_rank_that_missed_two_runs_is_back_after_it_left_both():
    network, run = with_busy_rank()
    run.stop(aborted=True)
    run.channel.mark_away(1, run.run_id)
    network.inject(1, 0, leave(1))
    third = Run(run.ranks)
    third.callbacks.until = lambda: True
    third.execute()
    assert (third.engine.n_unavailable, third.channel.away) == (1, {1})
    network.inject(1, 0, leave(2))
    third.execute()
    assert (third.engine.n_unavailable, third.channel.away) == (0, set())
