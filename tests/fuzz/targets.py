"""The fuzz targets: each function decodes its bytes or raises a documented error.

Import this module before any other module of bsbpool. Payloads are pickles, which are trusted, so
malicious pickles are out of scope. This module replaces `pickle.loads` while it imports
`scalar_codec`, so that only those pickles are loaded which the codec itself reads.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import oracle
from .draw import HEADER, MAGIC, VERSION, Draw, Message

assert "bsbpool._core.protocol.scalar_codec" not in sys.modules, "imported too early"
load_pickle = pickle.loads


class NotScalarsError(Exception):
    """The bytes are not a pickle that `scalar_codec` reads."""


def _leave(data: bytes) -> Any:
    raise NotScalarsError


pickle.loads = _leave
sys.path.insert(0, str(Path(__file__).parents[1] / "core"))

from cluster import MainCallbacks, WorkerCallbacks  # noqa: E402

from bsbpool._core.comm.channel import Channel, TransportError  # noqa: E402
from bsbpool._core.jobs.handle import Handle  # noqa: E402
from bsbpool._core.jobs.invoke import CallDepth  # noqa: E402
from bsbpool._core.jobs.submission import Submitter  # noqa: E402
from bsbpool._core.protocol import scalar_codec  # noqa: E402
from bsbpool._core.protocol.frames import (  # noqa: E402
    FrameWriter,
    MalformedFrameError,
    read_frame,
    read_part_sizes,
)
from bsbpool._core.protocol.wire import RecordKind as Kind  # noqa: E402
from bsbpool._core.runtime.main_loop import MainLoop  # noqa: E402
from bsbpool._core.runtime.worker_loop import WorkerLoop  # noqa: E402
from bsbpool._core.scheduling.engine import Engine  # noqa: E402
from bsbpool._core.scheduling.status import Status  # noqa: E402
from bsbpool._core.testing.inprocess_transport import InProcessNetwork  # noqa: E402
from bsbpool._core.testing.invariants import check  # noqa: E402
from bsbpool._core.testing.manual_engine import ManualEngine  # noqa: E402

pickle.loads = load_pickle

PAYLOADS = [
    b"",
    b"echo",
    *(scalar_codec.dumps(value) for value in [(), (1, 2), None, 5, ("text", b"bytes"), (1.5,) * 9]),
    *(
        scalar_codec.dumps(value)
        for value in [{"x": [1, {}], 2: ()}, ({"a": b"b"}, [[]]), np.arange(3), [np.ones((2, 1))]]
    ),
    *(scalar_codec.dumps_call((1, [2]), {"x": 3}, position) for position in (0, 1)),
    scalar_codec.dumps(((1,), {2: 3})),
    scalar_codec.dumps(((), {}, 5)),
    b"\x80\x04" + b"N" * 5 + b"\x8c",
    b"\x80\x04" + b"(" * 5 + b"C",
    bytes(32),
    bytes(33),
    b"x" * 255,
]


def exact_copy(data: bytes) -> np.ndarray:
    """Return the bytes in memory of their exact size; objects of `bytes` have one byte more."""
    return np.frombuffer(data, np.uint8).copy()


def same(a: Any, b: Any) -> bool:
    """Whether two values have the same types and bits."""
    if type(a) is not type(b):
        return False
    if type(a) in (tuple, list):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return same([*a.items()], [*b.items()])
    if type(a) is np.ndarray:
        return (a.dtype, a.shape, a.flags.writeable, a.tobytes()) == (
            b.dtype, b.shape, b.flags.writeable, b.tobytes()
        )  # fmt: skip
    return struct.pack("d", a) == struct.pack("d", b) if type(a) is float else a == b


def value_or_none(f: Any, refusal: type[Exception], data: Any) -> Any:
    """Return ``f(data)``, None if it raises `refusal`."""
    try:
        return f(data)
    except refusal:
        return None


# ------------------------------------------------------------------ decoders


def frames(data: bytes) -> None:
    """Frames are read or rejected as by the decoder in Python."""
    sized = data[:16] + struct.pack("=Q", len(data)) + data[24:]
    for frame in (data, sized):
        for f, slow in ((read_frame, oracle.records), (read_part_sizes, oracle.part_sizes)):
            expected = value_or_none(slow, oracle.RejectedError, frame)
            assert value_or_none(f, MalformedFrameError, exact_copy(frame)) == expected


def scalars(data: bytes) -> None:
    """The codec reads a pickle as `pickle` does, and writes it so that it reads the same value."""
    for code in (data, b"\x80\x04" + data, b"\x80\x04" + data + b"."):
        with contextlib.suppress(NotScalarsError):
            try:
                value = scalar_codec.loads(exact_copy(code))
            except ValueError as error:  # an array of a wrong size
                assert value_or_none(load_pickle, type(error), code) is None
                continue
            assert same(value, load_pickle(code))
            again = scalar_codec.dumps(value)
            assert again is None or same(scalar_codec.loads(exact_copy(again)), value)


# ------------------------------------------------------------------ loops

TO_WORKER = [Kind.JOB, Kind.FUNCTION, Kind.NEEDED, Kind.STEAL_REQUEST, Kind.SKIP, Kind.UNNEEDED,
             Kind.FORGET, Kind.STOP, Kind.INTERRUPT, Kind.DONE, Kind.GANG, Kind.GANG_JOB,
             Kind.GANG_FREE, 0x7D, 0x7E, 0x7F]  # fmt: skip
TO_MAIN = [Kind.DONE, Kind.DONE, Kind.DONE, Kind.STEAL_RESPONSE, Kind.LEAVE, Kind.OUTPUT,
           Kind.GANG_DONE, Kind.JOB]  # fmt: skip
RUN_IDS = [1, 1, 1, 1, 1, 1, 1, 0, 2, 2**32 - 1]
NEXT_MESSAGE = b"send the next message"
DOCUMENTED_ERRORS = (MalformedFrameError, TransportError)


def inject(network: InProcessNetwork, source: int, target: int, message: Message) -> None:
    network.inject(source, target, message.frame, message.parts)


def single_record(kind: int, id: int = 0, **fields: Any) -> Message:
    """Return a valid frame of one record."""
    writer = FrameWriter()
    writer.add(kind, id, **fields)
    return Message(writer.to_bytes(run_id=1), [])


class FuzzedWorkerCallbacks(WorkerCallbacks):
    """Loads any function, and reads all of its input."""

    def __init__(self, direct: bool, messages: Iterator[Any]) -> None:
        super().__init__({})
        self.direct = direct
        self.messages = messages

    def load_function(self, flags: int, payload: Any, buffers: list[Any]) -> Any:
        read_all(payload, buffers)
        if bytes(payload) == NEXT_MESSAGE:
            next(self.messages, None)
        return (return_arguments, flags % 2) if self.direct else return_arguments

    def run_job(self, job: int, function: Any, flags: int, payload: Any, buffers: list[Any]) -> Any:
        read_all(payload, buffers)
        assert 0 <= flags < 128
        return flags % 4, bytes(payload), []  # parts would be pending until main polls

    def pack_result(self, value: Any) -> Any:
        return b"a result", []

    def job_failed(self, job: int, function: Any, error: BaseException) -> Any:
        # ValueError: an array of a wrong size
        assert isinstance(error, NotScalarsError | TypeError | ValueError), error
        return 0, b"an error", []

    def gang_formed(self, job: int, serial: int, ranks: Any) -> None:
        sum(ranks)

    def gang_freed(self, serial: int, discarded: bool) -> None:
        assert discarded in (True, False)

    def ranks_died(self) -> bool:
        return True

    def main_lost(self, rank: int) -> None:
        raise TransportError(f"rank {rank} was lost")


def messages_to_worker(draw: Draw, network: InProcessNetwork) -> Iterator[None]:
    """Send fuzzed messages to a worker, each followed by a record that requests the next one.

    That record is a function, since functions are neither skipped nor given back.
    """
    for _ in range(8):
        inject(network, 0, 1, draw.message(draw.choose(RUN_IDS), TO_WORKER, PAYLOADS))
        inject(network, 0, 1, single_record(Kind.FUNCTION, aux=2**32 - 1, payload=NEXT_MESSAGE))
        yield
    inject(network, 0, 1, single_record(Kind.STOP))


def read_all(payload: Any, buffers: list[Any]) -> int:
    """Read every byte, so that sanitizers detect wrong sizes."""
    return sum(bytes(payload)) + sum(sum(bytes(buffer)) for buffer in buffers)


def return_arguments(owner: Any, *args: Any, **keywords: Any) -> Any:
    assert type(args) is tuple
    return (args, keywords) if keywords else args or None


def worker(data: bytes) -> None:
    """A worker runs until it receives STOP, or ends with a documented error."""
    draw = Draw(data)
    direct = draw.byte() < 128
    network = InProcessNetwork(2)
    channel = Channel(network.transport(1), crowded=True)
    messages = messages_to_worker(draw, network)
    loop = WorkerLoop(channel, channel.open_run(), FuzzedWorkerCallbacks(direct, messages))
    if direct:
        loop.enable_direct_calls("owner", CallDepth())
    for number in range(4):
        inject(network, 0, 1, single_record(Kind.FUNCTION, aux=number))
    next(messages)
    try:
        loop.run()
    except (*DOCUMENTED_ERRORS, KeyError):  # KeyError: an unknown function
        with contextlib.suppress(TransportError):
            loop.send_leave(b"it failed")
    channel.close_run(1)


class FuzzedMainCallbacks(MainCallbacks):
    """Sends one more message in each round of the loop; the run ends after the last one."""

    def __init__(self, engine: Engine, messages: Iterator[Any]) -> None:
        super().__init__(engine, ["function"])
        self.messages = messages
        self.until = lambda: next(self.messages, None) is None or engine.unfinished == 0

    def store_reply(
        self, job: int, flags: int, payload: Any, buffers: list[Any], seconds: float
    ) -> None:
        read_all(payload, buffers)
        super().store_reply(job, flags, payload, buffers, seconds)

    def function_number(self, f: Any) -> int:
        return 0

    def job_ended(self, job: int, seconds: float) -> None:
        assert seconds >= 0

    def timeout(self) -> float:
        return 0.0


def messages_to_main(draw: Draw, network: InProcessNetwork) -> Iterator[int]:
    """Send fuzzed messages to main, one after the other."""
    for _ in range(12):
        source = 1 + draw.byte() % 2 if not draw.is_rare() else 0
        inject(network, source, 0, draw.message(draw.choose(RUN_IDS), TO_MAIN, PAYLOADS))
        yield source


def run_main(draw: Draw, engine: Engine, jobs: Submitter | None, parcels: dict[int, Any]) -> None:
    network = InProcessNetwork(3)
    channel = Channel(network.transport(0), crowded=True)
    engine.open_workers(2)
    callbacks = FuzzedMainCallbacks(engine, messages_to_main(draw, network))
    callbacks.parcels = parcels
    loop = MainLoop(engine, channel, channel.open_run(), callbacks, jobs)
    if jobs is not None:
        loop.direct = draw.byte() < 200
    engine.start_run()
    try:
        loop.run()
    except (*DOCUMENTED_ERRORS, IndexError, NotScalarsError, ValueError):
        pass  # ValueError: an array of a wrong size
    except RuntimeError as error:
        if "it was not running" not in str(error):
            raise
    else:
        check(engine)
    loop.stop(True)
    channel.close_run(1)


def main(data: bytes) -> None:
    """The main rank continues or ends with a documented error, and its tables stay valid."""
    draw = Draw(data)
    engine = ManualEngine()
    n_jobs = 1 + draw.byte() % 8
    for job in range(n_jobs):
        engine.submit([job - 1] if job and draw.byte() % 4 == 1 else [], tracked=draw.byte() > 127)
    run_main(draw, engine, None, {job: (0, 0, b"arguments", []) for job in range(n_jobs)})


class Pool(Submitter):
    """A minimal pool."""

    def __init__(self, n_jobs: int) -> None:
        self._open_submission(Status, Handle, False)
        for n in range(n_jobs):
            self.queue(return_arguments, (n,) if n % 2 else (n, [n]), {"x": n} if n % 3 else None)


def pool(data: bytes) -> None:
    """As `main`, but the loop stores results and reads scalars itself."""
    draw = Draw(data)
    n_jobs = 1 + draw.byte() % 8
    jobs = Pool(n_jobs)
    run_main(draw, jobs._engine, jobs, {job: (0, 0, b"arguments", []) for job in range(n_jobs)})


def faulty(data: bytes) -> None:
    """Raise, crash or hang as the variable FAULT says, for tests of the fuzzer."""
    if data[:1] == b"\x07":
        {
            "error": lambda: 1 // 0,
            "crash": lambda: ctypes.string_at(0),
            "hang": lambda: time.sleep(600),
        }[os.environ["FAULT"]]()


TARGETS = {f.__name__: f for f in (frames, scalars, worker, main, pool, faulty)}


def seeds(name: str) -> list[bytes]:
    """Return the first inputs of a target, which are then mutated."""
    if name == "scalars":
        return [data[2:] for data in PAYLOADS if data[:1] == b"\x80"] + [b"(K\x01(NNt\x86t"]
    if name == "frames":
        return [HEADER.pack(MAGIC, VERSION, 0, 1, 0, 0, HEADER.size, 0, 0, 0, 0), *_sample_frames()]
    return [bytes(64), bytes(range(256)), b"\xff" * 64]


def _sample_frames() -> list[bytes]:
    records = [
        {"payload": b"hello"},
        {"payload": bytes(40_000), "buffers": [memoryview(b"xyz")]},
        {"buffers": [memoryview(b"")] * 3},
    ]
    samples = []
    for n in range(1, len(records) + 1):
        writer = FrameWriter()
        for record in records[:n]:
            writer.add(Kind.JOB, n, **record)
        samples.append(writer.to_bytes(1))
    return samples
