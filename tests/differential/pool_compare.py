"""Compares the outcome of a program with a pool with that of the oracle."""

from __future__ import annotations

from collections import Counter

from differential.pool_model import PoolModel
from differential.pool_plan import OnEnd, Schedule
from differential.pool_run import PoolRun, RankRecords


def compare_pool(run: PoolRun, ranks: list[RankRecords]) -> list[str]:
    """Return the differences between a run and the oracle."""
    model = PoolModel(run.plan, remote=len(ranks) > 1)
    mistakes = list(run.mistakes)
    for key, jobs in model.jobs.items():
        seen = run.seen.get(key, [])
        if len(seen) < len(jobs) and key in _never_queued(model):
            continue
        if len(seen) != len(jobs):
            mistakes.append(f"job {key}: {len(seen)} jobs, not {len(jobs)}")
            continue
        for n, (job, was) in enumerate(zip(jobs, seen, strict=True)):
            if mistake := job.outcome.mistake(was):
                mistakes.append(f"job {key}.{n}: {mistake}")
    if run.called != run.registered:
        mistakes.append(f"{run.called} of {run.registered} callbacks were called")
    if not model.loose:
        if run.refused != model.refused:
            mistakes.append(f"{run.refused} steps were refused, not {model.refused}")
        if (run.here.end == "JobPoolError") != model.deadlock:
            mistakes.append(f"execute raises {run.error!r}; deadlock: {model.deadlock}")
    return mistakes + _ranks_differ(model, ranks)


def _never_queued(model: PoolModel) -> set[int]:
    """Return the jobs of schedulers that a run which fails fast may stop before they queue them."""
    if not model.plan.fail_fast:
        return set()
    schedulers = (step for step in model.plan.steps if isinstance(step, Schedule))
    return {queue.key for step in schedulers for queue in step.steps}


def _ranks_differ(model: PoolModel, ranks: list[RankRecords]) -> list[str]:
    mistakes = []
    ran = [key for here in ranks for key in here.ran]
    calls_back = any(isinstance(step, OnEnd) and step.steps for step in model.plan.steps)
    if len(ranks) == 1 and not calls_back and ran != model.order:
        mistakes.append(f"the jobs {ran} ran, not {model.order}")
    again = [key for key, n in Counter(ran).items() if n > 1]
    if again:
        mistakes.append(f"the jobs {again} ran more than once")
    if not model.loose and Counter(ran) != Counter(model.order):
        mistakes.append(f"the jobs {sorted(ran)} ran, not {sorted(model.order)}")
    for here in ranks:
        many = {item: n for item, n in Counter(here.evaluated).items() if n > 1}
        if many and not any(isinstance(step, OnEnd) for step in model.plan.steps):
            mistakes.append(f"one rank evaluated {many}")
    ends = {here.end for here in ranks[1:]}
    if len(ranks) > 1 and ends != {"WorkflowError" if ranks[0].end else ""}:
        mistakes.append(f"main raises {ranks[0].end or None}, the others {ends}")
    return mistakes
