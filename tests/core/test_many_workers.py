"""Many workers: what the main rank keeps and does for each of them stays small."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from cluster import MainCallbacks, Run, cluster

from bsbpool._core.comm.channel import Channel
from bsbpool._core.comm.process_monitor import ProcessMonitor
from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool._core.testing.inprocess_transport import InProcessNetwork
from bsbpool._core.testing.manual_engine import ManualEngine

N_WORKERS = 20_000
MOST_BYTES = 256

MEASURE = """
    import ctypes, gc, os
    from bsbpool._core.comm.channel import Channel
    from test_many_workers import Main

    def resident():
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    main = Main({n})
    main.submit({n})
    main.drain()
    before = resident()
    main.open()
    print(resident() - before)
    for _ in range(2):
        main.run_round()  # a job for each worker
    main.drain()
    print(resident() - before)
"""


class Main:
    """A main rank whose workers receive messages, but do nothing."""

    def __init__(self, n_workers):
        self.n_workers = n_workers
        self.network = InProcessNetwork(n_workers + 1)
        self.channel = Channel(self.network.transport(0), crowded=True)
        self.engine = ManualEngine()
        self.callbacks = MainCallbacks(self.engine, ["nothing"])
        self.callbacks.process_events = lambda: True  # each `run` is one round
        self.loop = None

    def submit(self, n):
        for _ in range(n):
            self.callbacks.parcels[self.engine.submit()] = (0, 0, b"", [])
        self.engine.start_run()

    def open(self):
        self.engine.open_workers(self.n_workers)
        self.loop = MainLoop(self.engine, self.channel, self.channel.open_run(), self.callbacks)

    def run_round(self):
        self.loop.run()

    def drain(self):
        """Let the workers receive and drop what they were sent."""
        for rank in range(1, self.n_workers + 1):
            channel = Channel(self.network.transport(rank))
            channel.close_run(channel.open_run())

    def sent(self):
        return [self.network.waiting(rank) for rank in range(1, self.n_workers + 1)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and calls malloc_trim")
def test_the_tables_take_few_bytes_for_each_worker():
    code = textwrap.dedent(MEASURE.format(n=N_WORKERS))
    path = [str(Path(__file__).parent), *filter(None, sys.path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    opened, used = (int(line) / N_WORKERS for line in done.stdout.split())
    print(f"{opened:.0f} B for each worker of a new pool, {used:.0f} B when each has had a job")
    assert opened <= used + 16 <= MOST_BYTES


def test_opening_and_stopping_take_little_time_for_each_worker():
    main = Main(N_WORKERS)
    begin = time.process_time()
    main.open()
    opened = time.process_time() - begin
    begin = time.process_time()
    assert main.loop.stop(False) == []
    stopped = time.process_time() - begin
    assert main.sent() == [1] * N_WORKERS
    print(f"{opened / N_WORKERS * 1e9:.0f} ns to open, {stopped / N_WORKERS * 1e9:.0f} ns to stop")
    assert opened < 0.5e-6 * N_WORKERS  # about 20 ns each
    assert stopped < 3e-6 * N_WORKERS  # about 200 ns each


def test_stop_returns_the_ranks_that_have_jobs():
    main = Main(5)
    main.submit(2)
    main.open()
    main.run_round()
    busy = [rank for rank, n in enumerate(main.sent(), 1) if n]
    assert len(busy) == 2
    assert main.loop.stop(True) == busy


def test_only_ranks_that_are_away_or_lost_get_no_jobs():
    main = Main(6)
    main.submit(6)
    main.open()
    main.channel.mark_away(2, 1)
    main.channel.lost.add(5)
    main.run_round()
    assert [rank for rank, n in enumerate(main.sent(), 1) if n] == [1, 3, 4, 6]
    assert main.engine.n_unavailable == 2


# ------------------------------------------------------------------ cache items


def test_workers_without_jobs_get_no_notices_about_cache_items():
    main = Main(4)
    main.engine.submit(cache_set=main.engine.add_cache_set([main.engine.add_cache_item(7)]))
    main.callbacks.parcels[0] = (0, 0, b"", [])
    main.engine.start_run()
    main.open()
    main.run_round()
    assert sorted(main.sent()) == [0, 0, 0, 1]


def test_a_worker_that_comes_late_is_told_what_is_needed_then():
    """The first worker runs all jobs of the first items, which the second one never hears of."""
    with cluster(2, {"double": lambda payload, buffers: (1, payload * 2, [])}) as ranks:
        run = Run(ranks)
        sets = [run.engine.add_cache_set([run.engine.add_cache_item(t)]) for t in (1, 2, 3)]
        run.engine.set_available(1, False)
        for cache_set in sets[:2]:
            run.submit("double", cache_set=cache_set)
        run.execute()
        run.engine.set_available(0, False)
        run.engine.set_available(1, True)
        run.submit("double", cache_set=sets[2])
        run.execute()
        run.stop()
    first, second = (ranks.callbacks_of(worker) for worker in (0, 1))
    assert {token for what in first.logged("needed") for token in what} >= {1, 2}
    assert second.logged("needed") == [[3]]
    assert second.logged("unneeded") in ([[3]], [])
    assert len(second.logged("run")) == 1


# ------------------------------------------------------------------ processes


@pytest.fixture
def processes():
    """Return processes that wait, 40 of them."""
    pids = []
    for _ in range(40):
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        pids.append(pid)
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_monitor_looks_at_a_few_processes_at_a_time(processes):
    monitor = ProcessMonitor(dict(enumerate(processes, 1)))
    assert monitor.newly_dead(16) == []
    os.kill(processes[0], signal.SIGKILL)
    os.kill(processes[20], signal.SIGKILL)
    for pid in (processes[0], processes[20]):
        wait_for_death(pid)
    assert [monitor.newly_dead(16) for _ in range(3)] == [[21], [1], []]
    assert monitor.newly_dead() == []  # each one once
    assert monitor.dead() == [1, 21]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_monitor_looks_at_the_main_rank_each_time(processes):
    monitor = ProcessMonitor(dict(zip((*range(1, 40), 0), processes, strict=True)))
    os.kill(processes[-1], signal.SIGKILL)  # rank 0
    wait_for_death(processes[-1])
    assert monitor.newly_dead(3) == [0]
    assert monitor.newly_dead(3) == []


def wait_for_death(pid):
    """Wait until a child has ended, without collecting its exit code."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
