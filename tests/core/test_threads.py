"""Threads submit, cancel and look while another drives the engine."""

import random
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from oracle import FINISHED, LEGAL

from bsbpool._core.jobs.wait_chain import wait_chain
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine

N_THREADS = 4
N_JOBS = 1500


@pytest.fixture(autouse=True)
def many_switches():
    """Make the interpreter switch threads much more often."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Submitter(threading.Thread):
    """Submits jobs that depend on jobs of all threads, and tracks and cancels them."""

    def __init__(self, engine, seed):
        super().__init__(daemon=True)
        self.engine, self.random = engine, random.Random(seed)
        self.error = None

    def run(self):
        try:
            for _ in range(N_JOBS):
                self.submit()
                self.track_and_cancel()
        except BaseException as error:
            self.error = error

    def submit(self):
        known = len(self.engine)
        recent = range(max(0, known - 50), known)
        deps = self.random.sample(recent, min(len(recent), self.random.randrange(3)))
        join = self.engine.add_join(deps) if self.random.random() < 0.1 else -1
        items = self.engine.add_cache_set([self.engine.add_cache_item(self.random.getrandbits(64))])
        self.engine.submit(deps, () if join < 0 else (join,), items)

    def track_and_cancel(self):
        job = self.random.randrange(len(self.engine))
        if self.random.random() < 0.05:
            self.engine.cancel(job)
        elif self.random.random() < 0.1:
            assert self.engine.track(job) in Status
        elif self.random.random() < 0.02:
            check(self.engine)


class Reader(threading.Thread):
    """Reads all tables while they grow."""

    def __init__(self, engine):
        super().__init__(daemon=True)
        self.engine = engine
        self.stopped = threading.Event()
        self.error = None

    def run(self):
        try:
            while not self.stopped.is_set():
                self.read()
        except BaseException as error:
            self.error = error

    def read(self):
        engine = self.engine
        assert sum(engine.counts()) <= len(engine)
        assert engine.unfinished <= len(engine)
        assert len(set(engine.needed_items)) <= len(engine)
        chain = wait_chain(engine)
        assert chain == sorted(chain, reverse=True) or len(chain) < 2
        for job in range(max(0, len(engine) - 20), len(engine)):
            assert engine.status(job) in Status
            engine.is_sent(job), engine.dependency_failed(job), engine.ended_by_run(job)


def take_one(engine, random):
    job = engine.start_next()
    if job is not None:
        engine.finish(job, Status.FAILED if random.random() < 0.02 else Status.SUCCESS)


class Workers:
    """Four workers that end their jobs in any order."""

    def __init__(self):
        self.chains = [[] for _ in range(4)]

    def step(self, engine, random):
        for kind, worker, job in engine.assign():
            if kind == "SEND_JOB":
                self.chains[worker].append(job)
        busy = [worker for worker, chain in enumerate(self.chains) if chain]
        if busy:
            worker = random.choice(busy)
            engine.done(worker, self.chains[worker].pop(0), Status.SUCCESS)


@pytest.mark.parametrize("n_workers", [0, 4])
def test_threads_share_an_engine(n_workers):
    engine = ManualEngine()
    engine.track_all()
    if n_workers:
        engine.open_workers(n_workers)
    step = Workers().step if n_workers else take_one
    threads = [Submitter(engine, seed) for seed in range(N_THREADS)]
    reader = Reader(engine)
    engine.start_run()
    for thread in [*threads, reader]:
        thread.start()
    changes, patience, draw = [], time.monotonic() + 60, random.Random(0)
    while any(thread.is_alive() for thread in threads) or not engine.idle:
        step(engine, draw)
        changes += engine.pop_changes()
        assert time.monotonic() < patience
    changes += engine.pop_changes()
    reader.stopped.set()
    reader.join()
    assert [thread.error for thread in [*threads, reader]] == [None] * (N_THREADS + 1)
    check(engine)
    assert len(engine) == N_THREADS * N_JOBS
    assert engine.unfinished == 0
    assert engine.needed_items == []
    check_histories(changes, len(engine))


def check_histories(changes, n_jobs):
    """Each job went from PENDING to its end by legal steps, each recorded once, in order."""
    histories = {job: [Status.PENDING] for job in range(n_jobs)}
    for job, old, new in changes:
        assert histories[job][-1] is old
        histories[job].append(new)
    for history in histories.values():
        assert history[-1] in FINISHED
        assert all(new in LEGAL[old] for old, new in pairwise(history))


def test_the_tables_are_only_used_with_the_gil():
    """The GIL guards the tables, so the modules that use them neither release nor disable it."""
    core = Path(__file__).parents[2] / "src" / "_core"
    sources = [path for path in core.rglob("*.p[xy]*") if path.suffix in (".pyx", ".pxd")]
    assert sources
    for path in sources:
        text = path.read_text()
        assert "freethreading_compatible" not in text, path
        if path.parent.name in ("scheduling", "jobs"):
            assert "with nogil" not in text, path
