"""Targets for the interface of ipyparallel, beside ipyparallel."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, case

RATES = (
    ("direct", "apply_async on each of 2 engines: tasks/s over ipyparallel's", 100),
    ("balanced", "apply_async, balanced: tasks/s over ipyparallel's", 100),
    ("map 1", "balanced map, chunks of 1: items/s over ipyparallel's", 100),
    ("map 100", "balanced map, chunks of 100: items/s over ipyparallel's", 100),
)
TIMES = (
    ("latency", "ipyparallel's time of apply_sync over ours", 20),
    ("push", "ipyparallel's time to push 64 MiB to 2 engines over ours", 2),
    ("pull", "ipyparallel's time to pull 64 MiB from 2 engines over ours", 2),
)


def targets(quick: bool) -> list[Target]:
    own, peer = (1_000, 100) if quick else (10_000, 1_000)
    cases = {
        "own": case("engines", 3, tasks=own),
        "peer": case("engines", needs="ipyparallel", tasks=peer, peer=True),
    }
    checks = [
        at_least(name, text, bound, lambda r, name=name: r["own"][name] / r["peer"][name])
        for name, text, bound in RATES
    ]
    checks += [
        at_least(
            f"{name} ahead",
            f"{text}, with prefetch",
            bound,
            lambda r, name=name: r["own"][f"{name} ahead"] / r["peer"][name],
        )
        for name, text, bound in RATES
    ]
    checks += [
        at_least(name, text, bound, lambda r, name=name: r["peer"][name] / r["own"][name])
        for name, text, bound in TIMES
    ]
    return [Target("engines", "calls and data on 2 engines", cases, tuple(checks))]
