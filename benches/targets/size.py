"""Targets for the core alone, and for the memory of jobs and edges."""

from __future__ import annotations

from benches.targets.kinds import Figures, Target, at_most, case, each

EDGE = 8
"""Bytes of memory that an edge may take."""
MIB = 1 << 20


def targets(quick: bool) -> list[Target]:
    return [_core(quick), _memory(quick), _joins(quick)]


def _core(quick) -> Target:
    most = 100_000 if quick else 10_000_000
    return Target(
        "core",
        "the core alone: submit, ready, done; 3 dependencies and 1 cache item a job",
        {"core": case("core", env="testing", most=most)},
        (
            at_most(
                "bare",
                "time over a bare C countdown's, at the worst size",
                3,
                lambda r: max(map(_over, r["core"]["core"], r["core"]["bare"])),
            ),
            at_most(
                "flat",
                f"time a job with {most:,} over that with 10,000, the bare loop's growth taken out",
                1.2,
                lambda r: growth(r["core"], "core") / growth(r["core"], "bare"),
            ),
            at_most(
                "bytes",
                "memory a job, less 8 B for each of its edges",
                96,
                lambda r: max(
                    map(_each_job(r["core"]["deps"]), r["core"]["bytes"], r["core"]["jobs"])
                ),
                "B",
            ),
        ),
    )


def _over(own: float, other: float) -> float:
    return own / other


def _each_job(deps: int):
    return lambda held, jobs: held / jobs - EDGE * deps


def growth(figures: Figures, key: str) -> float:
    """Return the cost per job with the most jobs, divided by that with the fewest."""
    costs = [seconds / jobs for seconds, jobs in zip(figures[key], figures["jobs"], strict=True)]
    return costs[-1] / costs[0]


def _memory(quick) -> Target:
    jobs = 100_000 if quick else 1_000_000
    return Target(
        "memory",
        f"{jobs:,} queued jobs with their handles, arguments not counted",
        {"own": case("memory", jobs=jobs)},
        (at_most("job", "memory a job", 400, lambda r: each(r["own"], "bytes") / 1e6, "B"),),
    )


def _joins(quick) -> Target:
    jobs = 2_000 if quick else 20_000
    forms = {"same": "one set", "lists": "a list each", "sets": "a set each"}
    times = [
        at_most(f"{form} time", f"queue and execute, {text}", 1.5, _value(form, "seconds", 1), "s")
        for form, text in forms.items()
    ]
    bytes_ = [
        at_most(f"{form} memory", f"memory, {text}", 150, _value(form, "bytes", MIB), "MiB")
        for form, text in forms.items()
    ]
    return Target(
        "joins",
        f"{jobs:,} jobs that each wait for the same {jobs:,}; serial",
        {form: case("joins", jobs=jobs, form=form) for form in forms},
        (*times, *bytes_),
    )


def _value(name: str, key: str, unit: float):
    return lambda r: r[name][key] / unit
