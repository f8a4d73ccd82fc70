"""Simulates the loops with 1,000 seeds; `make sim SEEDS=100000` runs more."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bsbpool._core.scheduling.status import Status
from sim.faults import FAULTS, LostReply
from sim.plan import Cancel, Death, Job, Plan, Pool, draw, show
from sim.seeds import check_seed
from sim.shrink import failure_of, shrink
from sim.simulation import Simulation, simulate

CHUNK = 50


@pytest.mark.parametrize("first", range(0, 1000, CHUNK))
def test_seeds(first):
    for seed in range(first, first + CHUNK):
        report = check_seed(seed)
        assert report is None, report


# ------------------------------------------------------------------ determinism

SEEDS = range(3000, 3040)
TRACES = f"""
from sim.plan import draw
from sim.simulation import simulate
print([simulate(draw(seed)).network.trace for seed in range({SEEDS.start}, {SEEDS.stop})])
"""


def test_a_seed_gives_the_same_run_again():
    traces = [simulate(draw(seed)).network.trace for seed in SEEDS]
    assert len(set(traces)) == len(SEEDS)
    assert [simulate(draw(seed)).network.trace for seed in SEEDS] == traces
    command = [sys.executable, "-c", TRACES]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    for hashing in ("1", "2"):
        env = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": hashing}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == str(traces), done.stderr


def test_the_shown_plan_is_python_code():
    for seed in range(50):
        assert eval(show(draw(seed))) == draw(seed)


# ------------------------------------------------------------------ coverage of the seeds


def events_of(simulation):
    """Count the kinds of events in a run."""
    found = Counter()
    for callbacks, history in zip(simulation.callbacks, simulation.histories, strict=True):
        counts = dict(zip(Status, history.engine.counts(), strict=True))
        found += Counter({status.name: n for status, n in counts.items()})
        found["aborted run"] += callbacks.stopped
        lost = [len(details[0]) for event, *details in history.log if event == "lost"]
        found["died inside a job"] += sum(n > 0 for n in lost)
        found["several jobs lost"] += sum(n > 1 for n in lost)
        found["skipped"] += sum(event == "skipped" for event, *_ in history.log)
        found["began twice"] += sum(len(ranks) > 1 for ranks in history.begun.values())
        again = sum(n > 1 for n in callbacks.n_sent.values())
        found["sent again"] += again
        found["stolen"] += again if not history.dead else 0
    found["all died"] += len(simulation.channel.lost) == simulation.plan.workers
    found["main died"] += simulation.network.is_dead(0)
    found["some died"] += 0 < len(simulation.channel.lost) < simulation.plan.workers
    return found


def test_all_kinds_of_events_occur():
    found = Counter()
    for seed in range(400):
        found += events_of(simulate(draw(seed)))
    kinds = {
        "SUCCESS", "FAILED", "CANCELLED", "ABORTED", "aborted run", "died inside a job",
        "several jobs lost", "skipped", "began twice", "sent again", "stolen", "all died",
        "main died", "some died",
    }  # fmt: skip
    assert {kind for kind in kinds if not found[kind]} == set(), found


# ------------------------------------------------------------------ injected faults


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_an_injected_fault_is_found(fault):
    for seed in range(300):
        if failure_of(draw(seed), partial(simulate, simulation=fault)) is not None:
            return
    pytest.fail("no seed found it")


def test_a_failure_is_reported_with_a_small_plan():
    run = partial(simulate, simulation=LostReply)
    seed = next(seed for seed in range(300) if failure_of(draw(seed), run) is not None)
    plan, failure = shrink(draw(seed), lambda plan: failure_of(plan, run))
    assert isinstance(failure, AssertionError)
    assert plan.workers == 1
    assert [len(pool.jobs) for pool in plan.pools] == [1]
    assert (plan.deaths, plan.pools[0].cancels) == ((), ())
    report = check_seed(seed, run, tries=50)
    for needed in (f"seed {seed} of commit", f"make sim FIRST={seed} SEEDS=1", "Plan(seed="):
        assert needed in report


def test_shrinking_keeps_the_cause_of_the_failure():
    def needs_two_jobs_and_a_death(plan):
        jobs = [job for pool in plan.pools for job in pool.jobs]
        bad = plan.deaths and any(job.fails for job in jobs) and any(job.deps for job in jobs)
        return AssertionError() if bad else None

    seed = next(seed for seed in range(300) if needs_two_jobs_and_a_death(draw(seed)))
    plan, _ = shrink(draw(seed), needs_two_jobs_and_a_death, tries=3000)
    assert len(plan.deaths) == 1
    [pool] = plan.pools
    assert len(pool.jobs) <= 3
    assert sum(job.fails for job in pool.jobs) == 1


# ------------------------------------------------------------------ errors that seeds have found


def test_a_job_that_is_cancelled_while_it_is_encoded_is_not_sent():
    """Its worker would run it without notices about the items that it needs."""
    jobs = tuple(Job(duration=1000, items=(0, 1)) for _ in range(8))
    cancels = tuple(Cancel(at, job) for job in range(8) for at in range(200, 40_000, 1700))
    for seed in range(40):
        simulate(Plan(seed, 3, (Pool(jobs, cancels),), latency=200, preempt=300))


def test_main_does_not_wait_for_a_rank_that_returned_and_died():
    stopped = Pool((Job(duration=50_000), Job(duration=50_000)), stops_at=10_000)
    more = Pool(tuple(Job(duration=40_000) for _ in range(10)))
    for at in range(40_000, 80_000, 500):
        for seed in range(3):
            simulate(Plan(seed, 2, (stopped, more), (Death(1, at=at),)))


def test_main_waits_for_a_rank_that_is_away_from_two_runs():
    """With messages so slow that the end of the first run arrives during the second."""
    stopped = Pool((Job(duration=5_000_000),), stops_at=5_000)
    for seed in range(100):
        plan = Plan(seed, 2, (stopped, stopped), wakeup=True, latency=2_000_000, preempt=100)
        simulate(plan)


def test_a_hang_is_reported_with_the_state_of_the_ranks():
    plan = Plan(0, 1, (Pool((Job(duration=50_000),)),), wakeup=True)
    failure = failure_of(plan, partial(simulate, simulation=LostReply))
    assert "the run makes no progress" in str(failure)
    assert "running jobs by rank as known to main {1: 0}, in truth {}" in str(failure)
    assert failure_of(replace(plan, seed=1), partial(simulate, simulation=Simulation)) is None
