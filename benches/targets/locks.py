"""Targets for the lock around shared files."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, at_most, case, each

NEEDS = "bsb bsb_hdf5 mpilock"


def targets(quick: bool) -> list[Target]:
    return [
        _lock(100 if quick else 20_000, 100 if quick else 2_000),
        _network("small" if quick else "large", "small" if quick else "full"),
    ]


def _lock(jobs: int, slow_jobs: int) -> Target:
    cases, checks = {}, []
    for kind in ("read", "write"):
        cases[kind] = case("locks", 2, jobs=jobs, kind=kind, alone=True)
        cases[f"mpilock {kind}"] = case(
            "locks", 2, needs="mpilock", jobs=slow_jobs, kind=kind, alone=True, mpilock=True
        )
        checks += [
            at_most(kind, f"an uncontended {kind} lock", 3, _time(kind), "us"),
            at_least(f"{kind} mpilock", f"mpilock's time over ours, {kind}", 40, _ratio(kind)),
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


def _network(large: str, demo: str) -> Target:
    cases, checks = {}, []
    for env, mpi in (("", "MPICH"), ("openmpi", "Open MPI")):
        ours, theirs = f"ours {mpi}", f"bsb {mpi}"
        cases[ours] = case("compile", 3, needs=NEEDS, env=env, size=large)
        cases[theirs] = case("compile", 3, needs=NEEDS, env=env, size=large, pool="bsb")
        checks += [
            at_most(f"wall {mpi}", f"wall time over bsb-core's, {mpi}", 0.62, _over(ours, theirs)),
            at_most(
                f"rank 0 {mpi}",
                f"CPU time of rank 0 over bsb-core's, {mpi}",
                0.3,
                _over(ours, theirs, "cpu"),
            ),
        ]
    cases["demo"] = case("compile", 3, needs=NEEDS, size=demo)
    cases["demo mpilock"] = case("compile", 3, needs=NEEDS, size=demo, lock="mpilock")
    ratio = _over("demo mpilock", "demo")
    checks.append(at_least("demo", "`make demo`: mpilock's time over ours", 1.3, ratio))
    text = "a network of BSB with 2,037 jobs, and the demo; 3 ranks"
    return Target("lock-network", text, cases, tuple(checks))


def _over(name: str, other: str, key: str = "seconds"):
    return lambda r: r[name][key] / r[other][key]


def _time(name: str):
    return lambda r: each(r[name])


def _ratio(name: str):
    return lambda r: each(r[f"mpilock {name}"]) / each(r[name])
