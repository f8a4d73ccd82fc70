"""Without prefetch each worker has one job, and the next goes to the one idle for longest."""

import random

import pytest

from bsbpool._core.scheduling.engine_options import EngineOptions, JobSpec
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine

SHORT_NS = 100.0


def engine_of(n_workers, prefetch=False):
    engine = ManualEngine()
    engine.disable_prefetch(not prefetch)
    engine.open_workers(n_workers)
    engine.start_run()
    return engine


def assigned(engine):
    found = [(worker, job) for kind, worker, job in engine.assign() if kind == "SEND_JOB"]
    check(engine)
    return found


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_workers_get_jobs_in_turn(n_workers):
    engine = engine_of(n_workers)
    order = []
    for _ in range(4 * n_workers):
        engine.submit()
        [(worker, job)] = assigned(engine)
        engine.done(worker, job, Status.SUCCESS, SHORT_NS)
        order.append(worker)
    assert order == order[:n_workers] * 4
    assert sorted(order[:n_workers]) == list(range(n_workers))


@pytest.mark.parametrize("prefetch", [True, False])
def test_jobs_are_sent_ahead_with_prefetch_only(prefetch):
    engine = engine_of(2, prefetch)
    for _ in range(200):
        engine.submit()
    most = 0
    while engine.unfinished:
        most = max(most, len(assigned(engine)))
        for worker in range(2):
            job = engine.running_job(worker)
            if job is not None:
                engine.done(worker, job, Status.SUCCESS, SHORT_NS)
    assert (most > 2) == prefetch


def test_prefetch_can_be_disabled_while_jobs_run():
    for seed in range(100):
        rng = random.Random(seed)
        n_workers = rng.randint(1, 4)
        engine = engine_of(n_workers, prefetch=True)
        for _ in range(300):
            chance = rng.random()
            if chance < 0.02:
                engine.disable_prefetch(rng.random() < 0.5)
            elif chance < 0.5:
                engine.submit()
            else:
                worker = rng.randrange(n_workers)
                job = engine.running_job(worker)
                if job is not None:
                    engine.done(worker, job, Status.SUCCESS, SHORT_NS)
            assigned(engine)
        engine.disable_prefetch(True)
        while engine.unfinished:
            for worker in range(n_workers):
                job = engine.running_job(worker)
                if job is not None:
                    engine.done(worker, job, Status.SUCCESS, SHORT_NS)
            before = [engine.running_job(worker) for worker in range(n_workers)]
            for worker, _ in assigned(engine):
                assert before[worker] is None


def test_random_jobs_go_to_the_worker_that_was_idle_longest():
    for seed in range(200):
        rng = random.Random(seed)
        n_workers = rng.randint(1, 6)
        engine = engine_of(n_workers)
        options = EngineOptions(engine)
        last_used = dict.fromkeys(range(n_workers), 0)
        running, clock = {}, 0
        for _ in range(60):
            if rng.random() < 0.6:
                targets = None
                if rng.random() < 0.3:
                    targets = rng.sample(range(n_workers), rng.randint(1, n_workers))
                    chosen = options.add_worker_set(targets)
                    engine.submit(spec=JobSpec(engine, targets=chosen))
                else:
                    engine.submit()
                idle = [w for w in targets or range(n_workers) if w not in running]
                if idle and not engine.ready > 1:
                    [(worker, job)] = assigned(engine)
                    assert last_used[worker] == min(last_used[w] for w in idle), seed
                    clock += 1
                    last_used[worker], running[worker] = clock, job
                    continue
            elif running:
                worker = rng.choice(list(running))
                engine.done(worker, running.pop(worker), Status.SUCCESS, SHORT_NS)
            for worker, job in assigned(engine):
                assert worker not in running
                clock += 1
                last_used[worker], running[worker] = clock, job
