"""Targets for the lock around shared files."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, at_most, case, each


def targets(quick: bool) -> list[Target]:
    return [_lock(100 if quick else 20_000, 100 if quick else 2_000)]


def _lock(jobs: int, slow_jobs: int) -> Target:
    cases, checks = {}, []
    for kind in ("read", "write"):
        cases[kind] = case("locks", 2, jobs=jobs, kind=kind, alone=True)
        cases[f"mpilock {kind}"] = case(
            "locks", 2, needs="mpilock", jobs=slow_jobs, kind=kind, alone=True, mpilock=True
        )
        checks += [
            at_most(kind, f"an uncontended {kind} lock", 3, _time(kind), "us"),
            at_least(f"{kind} mpilock", f"mpilock's time over ours, {kind}", 100, _ratio(kind)),
        ]
    cases["turns"] = case("locks", 2, jobs=jobs)
    cases["mpilock turns"] = case("locks", 2, needs="mpilock", jobs=slow_jobs, mpilock=True)
    cases["nodes"] = case("locks", 2, jobs=slow_jobs, nodes=2)
    cases["pingpong"] = case("pingpong", 2, jobs=20_000)
    checks += [
        at_most("turns", "two ranks in turn, per acquisition", 25, _time("turns"), "us"),
        at_least("turns mpilock", "mpilock's time over ours, in turn", 15, _ratio("turns")),
        at_most(
            "nodes",
            "two pretended nodes in turn, over a pickled ping-pong",
            3,
            lambda r: each(r["nodes"]) / each(r["pingpong"]),
        ),
    ]
    return Target("lock", "the lock around shared files; 2 ranks", cases, tuple(checks))


def _time(name: str):
    return lambda r: each(r[name])


def _ratio(name: str):
    return lambda r: each(r[f"mpilock {name}"]) / each(r[name])
