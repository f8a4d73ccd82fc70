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
from sim import plan as plans
from sim.faults import FAULTS, LostReply
from sim.plan import LARGE, Cancel, Death, Job, Plan, Pool, draw, show
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
        assert eval(show(draw(seed)), vars(plans)) == draw(seed)


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
        found["interrupted"] += len(history.ended_early)
        found["skipped"] += sum(event == "skipped" for event, *_ in history.log)
        found["began twice"] += sum(len(ranks) > 1 for ranks in history.begun.values())
        again = sum(n > 1 for n in callbacks.n_sent.values())
        retried = history.options.n_retried.total()
        found["sent again"] += again
        found["stolen"] += again if not history.dead and not retried else 0
        found["retried"] += retried
        found["retried after a loss"] += history.options.n_rerun.total()
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
        "main died", "some died", "retried", "retried after a loss", "interrupted",
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
    seed = next(
        seed
        for seed in range(300)
        if not draw(seed).deaths and failure_of(draw(seed), run) is not None
    )
    plan, failure = shrink(draw(seed), lambda plan: failure_of(plan, run))
    assert isinstance(failure, AssertionError)
    assert plan.workers <= 2
    assert [len(pool.jobs) for pool in plan.pools] == [1]
    assert plan.pools[0].cancels == ()
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
    assert sum(job.fails > 0 for job in pool.jobs) == 1


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


def test_a_worker_may_interrupt_its_job_before_main_continues():
    """The other ranks run when main has sent the end of the run, so main notes it before that."""
    jobs = tuple(Job(duration=duration) for duration in (18_000_000, 400_000, 12_000, 1_800_000))
    pool = Pool(jobs, stops_at=2_900_000, interrupts=True)
    for seed in range(40):
        plan = Plan(seed, 6, (pool,), shares_begun=False, wakeup=True, makes_progress=True)
        simulate(replace(plan, spins=True, preempt=20))
    simulate(draw(102567))


def test_a_cancelled_job_does_not_wait_for_data_of_a_rank_that_died():
    """The data are dropped when the job is cancelled; then the rank dies that was to send them."""
    large = Job(duration=5_000, result_size=LARGE)
    needs = Job(duration=8_000, deps=(1, 2), takes=True)
    jobs = (replace(large, duration=70_000_000), large, replace(large, stays=True), needs, Job())
    pool = Pool(jobs, (Cancel(4_600_000, 3),))
    deaths = tuple(Death(rank, at=13_000, report_delay=40_000_000) for rank in (1, 3))
    for seed in range(200):
        simulate(Plan(seed, 3, (pool,), deaths, wakeup=True, makes_progress=True, latency=200))


def test_a_hang_is_reported_with_the_state_of_the_ranks():
    plan = Plan(0, 1, (Pool((Job(duration=50_000),)),), wakeup=True)
    failure = failure_of(plan, partial(simulate, simulation=LostReply))
    assert "the run makes no progress" in str(failure)
    assert "running jobs by rank as known to main {1: 0}, in truth {}" in str(failure)
    assert failure_of(replace(plan, seed=1), partial(simulate, simulation=Simulation)) is None
