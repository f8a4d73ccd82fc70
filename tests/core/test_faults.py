"""A network that fails, and frames that no rank of ours would send."""

import random
import struct

import pytest
from alone import (
    DONE,
    FUNCTION,
    GO,
    JOB,
    OK,
    STOP,
    answer_once,
    echo,
    frame,
    job,
    main_alone,
    worker_alone,
)
from cluster import Cluster, Run, WorkerCallbacks

from bsbpool._core.comm.channel import Channel, TransportError
from bsbpool._core.jobs.invoke import CallDepth
from bsbpool._core.protocol.frames import FrameWriter, MalformedFrameError
from bsbpool._core.protocol.scalar_codec import dumps
from bsbpool._core.protocol.wire import RecordFlag, RecordKind
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool._core.testing.inprocess_transport import InProcessNetwork

SHUTDOWN_RUN_ID = 2**31 - 1
"""The run of the last message of a rank."""


@pytest.mark.parametrize(
    ("code", "reason"), [(-7, "error 7 of the network"), (-100, "memory"), (-101, "malformed")]
)
def test_a_network_error_ends_the_loops(code, reason):
    network, run = main_alone()
    network.fail(0, code)
    with pytest.raises(TransportError, match=reason):
        run.execute()
    network, worker = worker_alone()
    network.fail(1)
    worker.start()
    worker.join()
    assert isinstance(worker.error, TransportError)


def test_a_rank_that_does_not_exist_is_an_error():
    network = InProcessNetwork(2)
    for call in (network.transport, network.waiting, network.fail):
        for wrong in (-1, 2):
            with pytest.raises(IndexError, match="rank must lie between 0 and 1"):
                call(wrong)
    with pytest.raises(ValueError, match="n must be at least 1"):
        InProcessNetwork(0)


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
        ((DONE, 0, {"flags": 3}), MalformedFrameError),
    ],
)
def test_an_invalid_reply_ends_the_run_with_an_error(reply, error):
    network, run = main_alone()
    run.callbacks.store_reply = lambda *_: None
    answer_once(network, run, frame(1, reply))
    with pytest.raises(error):
        run.execute()


@pytest.mark.parametrize(("rank", "number"), [(0, 0), (1, 1)])
def test_a_reply_for_a_job_that_the_rank_does_not_run(rank, number):
    network, run = main_alone(n_jobs=2)
    run.callbacks.on_turn = lambda: network.inject(rank, 0, frame(1, (DONE, number, {"flags": OK})))
    with pytest.raises((RuntimeError, MalformedFrameError), match=r"not running|no worker"):
        run.execute()


def test_a_last_message_of_a_rank_that_is_no_worker():
    network, run = main_alone()
    run.callbacks.on_turn = lambda: network.inject(0, 0, frame(SHUTDOWN_RUN_ID))
    with pytest.raises(MalformedFrameError, match="rank 0, which is no worker"):
        run.execute()


def test_records_of_unknown_kinds_are_ignored():
    network, run = main_alone()
    unknown = [(kind, 0, {"payload": b"x"}) for kind in (0, JOB, STOP, 77, 255)]
    answer_once(network, run, frame(1, *unknown, (DONE, 0, {"flags": OK})))
    assert run.execute() == {0: (OK, b"", [])}


def test_unused_parts_do_not_shift_the_others():
    network, run = main_alone()
    writer = FrameWriter()
    writer.add(77, 0, buffers=[memoryview(b"unwanted")] * 2)
    writer.add(DONE, 0, flags=OK, payload=b"", buffers=[memoryview(b"wanted")])
    data = writer.to_bytes(run_id=1)
    parts = [b"unwanted", b"unwanted", b"wanted"]

    def answer():
        if not network.waiting(0) and run.engine.unfinished:
            network.inject(1, 0, data, parts)

    run.callbacks.on_turn = answer
    [(_, _, buffers)] = run.execute().values()
    assert [bytes(buffer) for buffer in buffers] == [b"wanted"]


def test_a_worker_refuses_a_function_that_was_not_sent():
    network, worker = worker_alone()
    network.inject(0, 1, frame(1, job(0)))
    worker.start()
    worker.join()
    assert isinstance(worker.error, KeyError)


@pytest.mark.parametrize("kind", [RecordKind.NEEDED, RecordKind.UNNEEDED])
def test_cache_items_that_are_not_numbers_are_refused(kind):
    network, worker = worker_alone()
    network.inject(0, 1, frame(1, (kind, 0, {"payload": bytes(15)})))
    worker.start()
    worker.join()
    assert isinstance(worker.error, MalformedFrameError)
    assert "15 bytes" in str(worker.error)


@pytest.mark.parametrize("flags", [RecordFlag.SCALARS, RecordFlag.SCALARS | RecordFlag.ONLY_ARGS])
@pytest.mark.parametrize("arguments", [None, 5, "text", {}, [1]])
def test_scalar_arguments_that_are_not_a_tuple_fail_the_job(arguments, flags):
    error = error_of_call(arguments, flags)
    assert isinstance(error, TypeError)
    assert "tuple" in str(error)


@pytest.mark.parametrize(
    "call",
    [
        (), ((),), ((), None), ((), [], 0), ([], {}), ((), {}, 1), ((), {}, -1), ((), {}, True),
        ((), {}, 0.0), ((), {}, 2**62), ((), {}, 0, 0), ((), {1: 2}), ((1,), {"x": 1, 2: 3}, 1),
    ],
)  # fmt: skip
def test_a_malformed_call_fails_the_job(call):
    assert isinstance(error_of_call(call, RecordFlag.SCALARS), TypeError)


def error_of_call(arguments, flags):
    network = InProcessNetwork(2)
    callbacks = Failures({"echo": refuse})
    callbacks.after = lambda: network.inject(0, 1, frame(1, GO))
    channel = Channel(network.transport(1))
    loop = WorkerLoop(channel, channel.open_run(), callbacks)
    loop.enable_direct_calls("owner", CallDepth())
    plain = (JOB, 0, {"payload": dumps(arguments), "flags": flags})
    network.inject(0, 1, frame(1, FUNCTION, plain))
    assert loop.run() is False
    [error] = callbacks.failures
    return error


def refuse(owner, *args):
    raise AssertionError


class Failures(WorkerCallbacks):
    """Records the errors of jobs that the loop called directly."""

    def __init__(self, functions):
        super().__init__(functions)
        self.failures = []
        self.after = lambda: None

    def load_function(self, *function):
        return super().load_function(*function), 0

    def job_failed(self, job, function, error):
        self.failures.append(error)
        self.after()
        return 0, b"", []


@pytest.mark.parametrize("parts", [[], [b"one", b"too many"], [b"longer"], [b""]])
def test_a_frame_without_its_parts_is_refused(parts):
    network, worker = worker_alone()
    network.inject(0, 1, frame(1, (JOB, 0, {"buffers": [memoryview(b"one")]})), parts)
    worker.start()
    worker.join()
    assert isinstance(worker.error, MalformedFrameError)


@pytest.mark.parametrize("size", [2**46 + 1, 2**63, 2**64 - 1])
def test_parts_larger_than_memory_are_refused_before_allocation(size):
    network, run = main_alone()
    data = frame(1, (DONE, 0, {"flags": OK, "buffers": [memoryview(b"one")]}))
    network.inject(1, 0, data[:-8] + struct.pack("=Q", size), [b"one"])
    with pytest.raises(TransportError):
        run.execute()


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes_either_end_a_run_with_an_error_or_change_nothing(seed):
    draw = random.Random(seed)
    network, run = main_alone()
    good = frame(1, (DONE, 0, {"flags": OK, "payload": b"some result"}))
    received = bytearray(good if seed % 3 else draw.randbytes(draw.randrange(100)))
    for _ in range(draw.randrange(3) if received else 0):
        received[draw.randrange(len(received))] = draw.randrange(256)
    answer_once(network, run, bytes(received), good)
    run.callbacks.give_up = float("inf")
    turns = iter(range(50))
    run.callbacks.until = lambda: run.engine.unfinished == 0 or next(turns, None) is None
    run.callbacks.timeout = lambda: 0.0
    try:
        run.execute()
    except (TransportError, MalformedFrameError, IndexError, RuntimeError, TypeError) as error:
        assert str(error)
