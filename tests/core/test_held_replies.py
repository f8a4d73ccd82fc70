"""With many workers more work is sent ahead, and workers hold replies back for a time."""

import threading
import time

import pytest
from cluster import PATIENCE, WorkerCallbacks

from bsbpool._core.comm.channel import Channel
from bsbpool._core.protocol.wire import RecordKind
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.endpoint import Endpoint
from bsbpool._core.testing.inprocess_transport import InProcessNetwork
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine
from bsbpool._core.testing.tables import WorkersTable

US, MS = 1_000, 1_000_000
STOP, JOB, DONE = RecordKind.STOP, RecordKind.JOB, RecordKind.DONE
LONG_HOLD = 60_000 * MS
RUN_TIME_BITS, START_UNIT_NS = 48, 16


class Main:
    """The main rank of a worker that runs its loop in a thread."""

    def __init__(self, f, direct=False):
        network = InProcessNetwork(2)
        self.endpoint = Endpoint(network.transport(0))
        self.callbacks = WorkerCallbacks({"f": f})
        self.thread = threading.Thread(target=self.work, args=(network,), daemon=True)
        self.ready = threading.Event()
        self.thread.start()
        assert self.ready.wait(PATIENCE)
        self.send({"kind": RecordKind.FUNCTION, "id": 0, "payload": b"f"})

    def work(self, network):
        channel = Channel(network.transport(1, True), crowded=True)
        self.run_id = channel.open_run()
        loop = self.callbacks.loop = WorkerLoop(channel, self.run_id, self.callbacks)
        self.ready.set()
        loop.run()

    def send(self, *records):
        self.endpoint.send_records(1, self.run_id, records)

    def send_jobs(self, n, hold=LONG_HOLD, first=0):
        numbers = range(first, first + n)
        self.send(*({"kind": JOB, "id": n, "extra": hold, "payload": b""} for n in numbers))

    def messages(self, n):
        """Return the messages of the worker until it has replied to `n` jobs."""
        found, replied, end = [], 0, time.monotonic() + PATIENCE
        while replied < n:
            message = self.endpoint.poll_records()
            if message is None:
                assert time.monotonic() < end, f"{replied} of {n} jobs have ended"
                time.sleep(1e-4)
                continue
            found.append(message)
            replied += sum(record[0] == DONE for record in message[1])
        return found

    def stop(self):
        self.send({"kind": STOP, "id": 0})
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def sleeping():
    main = Main(lambda payload, buffers: (time.sleep(2e-3), (1, b"", ()))[1])
    yield main
    main.stop()


def n_replies(messages):
    return [sum(record[0] == DONE for record in records) for _, records in messages]


def test_replies_of_long_jobs_wait_for_each_other_if_main_allows_it(sleeping):
    sleeping.send_jobs(10)
    assert n_replies(sleeping.messages(10)) == [10]
    sleeping.send_jobs(10, hold=0, first=10)
    assert n_replies(sleeping.messages(10)) == [1] * 10


def test_replies_wait_only_as_long_as_main_allows(sleeping):
    sleeping.send_jobs(20, hold=8 * MS)
    replies = n_replies(sleeping.messages(20))
    assert len(replies) > 2 and max(replies) <= 5


def test_a_reply_that_must_not_wait_is_sent_with_those_before_it(sleeping):
    numbers = range(6)
    sleeping.send(
        *({"kind": JOB, "id": n, "extra": LONG_HOLD * (n != 3), "payload": b""} for n in numbers)
    )
    assert n_replies(sleeping.messages(6)) == [4, 2]


def test_failures_do_not_wait():
    main = Main(lambda payload, buffers: (time.sleep(2e-3), (len(outcomes) != 4, b"", ()))[1])
    outcomes = main.callbacks.log
    main.send_jobs(6)
    assert n_replies(main.messages(6)) == [3, 3]
    main.stop()


def test_replies_do_not_wait_until_a_function_is_loaded():
    main = Main(lambda payload, buffers: (1, b"", ()))
    main.send_jobs(1)
    main.messages(1)
    load = main.callbacks.load_function
    main.callbacks.load_function = lambda *args: (time.sleep(0.5), load(*args))[1]
    begin = time.monotonic()
    function = {"kind": RecordKind.FUNCTION, "id": 0, "aux": 1, "payload": b"f"}
    job = {"kind": JOB, "extra": LONG_HOLD, "payload": b""}
    main.send({**job, "id": 0}, {**job, "id": 1}, function, {**job, "id": 2, "aux": 1})
    assert n_replies(main.messages(2)) == [2] and time.monotonic() - begin < 0.4
    assert n_replies(main.messages(1)) == [1]
    main.stop()


def test_replies_are_sent_when_there_are_many():
    main = Main(lambda payload, buffers: (1, b"", ()))
    main.send_jobs(200)
    assert n_replies(main.messages(200)) == [64, 64, 64, 8]
    main.stop()


def test_the_progress_thread_sends_replies_that_have_waited_long_enough():
    """The last job takes longer than the replies may wait."""
    pauses = [2e-3, 2e-3, 0.5]
    main = Main(lambda payload, buffers: (time.sleep(pauses.pop(0)), (1, b"", ()))[1])
    begin = time.monotonic()
    main.send_jobs(3, hold=20 * MS)
    first = main.messages(2)
    assert n_replies(first) == [2]
    assert 0.02 < time.monotonic() - begin < 0.4
    main.messages(1)
    main.stop()


def test_the_message_tells_when_each_job_began(sleeping):
    begin = time.monotonic_ns()
    sleeping.send_jobs(10)
    [(start, records)] = sleeping.messages(10)
    ended = start
    for _, number, _, extra in records:
        run, after = extra & (1 << RUN_TIME_BITS) - 1, (extra >> RUN_TIME_BITS) * START_UNIT_NS
        assert run >= 2 * MS, number
        ended += after + run
    assert begin < start and 20 * MS < ended - start <= time.monotonic_ns() - start


def test_a_pause_between_jobs_ends_a_message():
    """The field for the time between two jobs has 16 bits, of 16 ns."""
    main = Main(lambda payload, buffers: (1, b"", ()))
    main.callbacks.items_needed = lambda tokens: time.sleep(5e-3)
    job = {"kind": JOB, "extra": LONG_HOLD, "payload": b""}
    needed = {"kind": RecordKind.NEEDED, "id": 0, "payload": bytes(8)}
    main.send({**job, "id": 0}, needed, {**job, "id": 1}, {**job, "id": 2})
    assert n_replies(main.messages(3)) == [1, 2]
    main.stop()


# ------------------------------------------------------------------ the dispatcher


def engine_of(n_workers, n_jobs):
    engine = ManualEngine()
    engine.open_workers(n_workers)
    engine.start_run()
    for _ in range(n_jobs):
        engine.submit()
    return engine


@pytest.mark.parametrize("n_workers", [1, 250, 251, 10_000])
def test_the_work_that_is_sent_ahead_grows_with_the_number_of_workers(n_workers):
    ahead = max(MS, 4 * US * n_workers)
    for run_ns in (10 * US, ahead / 10, 1.9 * ahead, 2 * ahead):
        workers = WorkersTable(n_workers)
        for _ in range(100):
            workers.measure(0, run_ns)
        expected = 1 if run_ns >= 2 * ahead else min(int(2 + ahead / (run_ns + 500)), 256)
        assert workers.credit(0) == expected


@pytest.mark.parametrize(("n_workers", "hold"), [(250, 0), (1000, 2 * MS), (100_000, 200 * MS)])
def test_workers_hold_replies_for_half_of_that_time(n_workers, hold):
    assert engine_of(n_workers, n_jobs=0).hold_ns == hold


def test_few_jobs_are_divided_among_all_workers():
    """Though the credit of the first workers would allow them to take all jobs."""
    n = 400
    engine = engine_of(n, n_jobs=20 * n)
    most = []
    while engine.unfinished:
        held = dict.fromkeys(range(n), 0)
        for _, worker, _ in engine.assign():
            held[worker] += 1
        check(engine)
        most.append(max(held.values()))
        for worker in range(n):
            job = engine.running_job(worker)
            while job is not None:
                engine.done(worker, job, Status.SUCCESS, 10 * US)
                job = engine.running_job(worker)
    assert most[0] == 1 and max(most) > 4
    assert all(2 * most[i + 1] >= most[i] - 2 for i in range(2, len(most) - 1)), most
    assert most[-1] <= 2


def test_a_run_time_that_many_workers_have_measured_is_trusted():
    """Each worker gets its full share after its first job."""
    n = 1000
    engine = engine_of(n, n_jobs=200 * n)
    engine.assign()
    for worker in range(n):
        engine.done(worker, engine.running_job(worker), Status.SUCCESS, 100 * US)
    credits = [engine.credit(worker) for worker in range(n)]
    assert credits[:255] == [2] * 255 and credits[256:] == [41] * (n - 256)
