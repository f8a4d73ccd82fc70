"""Compares the outcome of a program with an executor with that of the oracle."""

from __future__ import annotations

from collections import Counter

from differential.executor_model import BROKEN, ExecutorModel, ModelMap
from differential.executor_run import ExecutorRun, ItemsEnd
from differential.outcome import FAILED, Expected, Seen, kind_of
from differential.pool_run import RankRecords

RUN_ENDED = "concurrent.futures._base.CancelledError"
"""The errors that a reader of the results of a cancelled map gets."""
ITEMS_END = kind_of(ItemsEnd())


def compare_executor(run: ExecutorRun, ranks: list[RankRecords]) -> list[str]:
    """Return the differences between a run and the oracle."""
    model = ExecutorModel(run.plan)
    mistakes = list(run.mistakes)
    for key, expected in model.calls.items():
        if key in run.refused:
            broken = run.plan.initializer == -2 and kind_of(run.refused[key]) in BROKEN
            if not broken and run.plan.end != "cancel":
                mistakes.append(f"call {key}: submit raises {run.refused[key]!r}")
        elif key not in run.seen:
            if run.plan.initializer != -2:  # then callbacks may not have been called
                mistakes.append(f"call {key}: nothing came of it")
        elif mistake := expected.mistake(run.seen[key]) or _note_missing(expected, run.seen[key]):
            mistakes.append(f"call {key}: {mistake}")
    for key, made in model.maps.items():
        if mistake := _map_differs(run, made):
            mistakes.append(f"map {key}: {mistake}")
    if run._n_called != len(run._called):
        mistakes.append(f"{run._n_called} of {len(run._called)} callbacks were called")
    ran = Counter(key for here in ranks for key in here.ran)
    for key in model.logged:
        seen = run.seen.get(key)
        if ran[key] > 1 or (seen and seen.status == "SUCCESS" and ran[key] != 1):
            mistakes.append(f"call {key} ran {ran[key]} times")
    mistakes += [f"a rank raises {here.end}" for here in ranks[1:] if here.end]
    return mistakes


def _note_missing(expected: Expected, seen: Seen) -> str:
    """Look for the note that a result could not be unpickled."""
    if expected.unread and seen.status == FAILED and not any("unpickled" in n for n in seen.notes):
        return f"no note says that the result cannot be unpickled: {seen.notes}"
    return ""


def _map_differs(run: ExecutorRun, made: ModelMap) -> str:
    step = made.step
    refused = run.refused.get(step.key)
    if run.plan.initializer == -2:
        return ""  # it breaks at some point
    if step.fails and not step.buffersize:
        return "" if isinstance(refused, ItemsEnd) else f"map raises {refused!r}, not ItemsEnd"
    if refused is not None:
        return f"map raises {refused!r}"
    seen = run.taken.get(step.key, [])
    if step.unordered:
        return _unordered_differs(seen, made)
    expected = list(made.items)
    for n, outcome in enumerate(expected):
        if outcome.status == FAILED:
            del expected[n + 1 :]
            break
    else:
        if step.fails:
            expected.append(Expected(FAILED, errors=(ITEMS_END,)))
    if step.take >= 0:
        del expected[step.take :]
    if made.loose and seen and seen[-1].status == FAILED and seen[-1].value[1] == RUN_ENDED:
        seen = seen[:-1]
        del expected[len(seen) :]
    if len(seen) != len(expected):
        return f"{len(seen)} results and errors, not {len(expected)}: {seen[-1:]}"
    for n, (outcome, was) in enumerate(zip(expected, seen, strict=True)):
        if mistake := outcome.mistake(was) or _note_missing(outcome, was):
            return f"item {n}: {mistake}"
    return ""


def _unordered_differs(seen: list[Seen], made: ModelMap) -> str:
    left = list(made.items)
    if made.step.fails:
        left.append(Expected(FAILED, errors=(ITEMS_END,)))
    for was in seen:
        if made.loose and was.status == FAILED and was.value[1] == RUN_ENDED:
            return ""
        outcome = next((outcome for outcome in left if not outcome.mistake(was)), None)
        if outcome is None:
            return f"no item gives {was}"
        left.remove(outcome)
    complete = made.step.take < 0 and not any(was.status == FAILED for was in seen)
    if complete and left and not made.loose:
        return f"{len(left)} results are missing"
    return ""
