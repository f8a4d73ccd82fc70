"""Targets for latency, waiting, the balance of work, and large data."""

from __future__ import annotations

from benches.programs.systems import SYSTEMS
from benches.targets.kinds import Target, at_least, at_most, case, each


def targets(quick: bool) -> list[Target]:
    return [_chain(quick), _metg(quick), _arrays(quick), _idle(quick), _balance(quick)]


def _chain(quick) -> Target:
    jobs = 500 if quick else 20_000
    return Target(
        "chain",
        "no-op jobs that each wait for the one before; 2 ranks",
        {"own": case("chain", 2, jobs=jobs), "pingpong": case("pingpong", 2, jobs=jobs)},
        (
            at_most(
                "pingpong",
                "time a job over a pickled ping-pong's",
                2,
                lambda r: each(r["own"]) / each(r["pingpong"]),
            ),
        ),
    )


def _metg(quick) -> Target:
    cases, checks = {}, []
    bounds = {"mpi_futures": 50, "dask": 200}
    for shape in ("trivial", "stencil"):
        for name in ("bsbpool", *bounds):
            system = SYSTEMS[name]
            cases[f"{name} {shape}"] = case(
                "metg",
                2 if system.ranks else 1,
                needs=" ".join(system.needs),
                system=name,
                shape=shape,
                budget=0.1 if quick else 0.5,
            )
        for name, bound in bounds.items():
            checks.append(
                at_least(
                    f"{shape} {name}",
                    f"{SYSTEMS[name].title}'s METG over ours, {shape}",
                    bound,
                    _shorter(name, shape),
                )
            )
    return Target(
        "metg", "the shortest tasks that are run at 50 % efficiency; 1 worker", cases, tuple(checks)
    )


def _shorter(name: str, shape: str):
    return lambda r: r[f"{name} {shape}"]["metg"] / r[f"bsbpool {shape}"]["metg"]


def _arrays(quick) -> Target:
    megabytes = 10 if quick else 100
    cases, checks = {}, []
    for way, result in (("argument", False), ("result", True)):
        for who, hand in (("own", False), ("hand", True)):
            cases[f"{who} {way}"] = case("arrays", 2, megabytes=megabytes, hand=hand, result=result)
        checks += [
            at_least(f"{way} speed", f"speed over Send and Recv, as {way}", 0.8, _speed(way)),
            at_most(
                f"{way} memory", f"peak of the receiver over the array, as {way}", 2.2, _peak(way)
            ),
        ]
    return Target("arrays", f"a numpy array of {megabytes} MB; 2 ranks", cases, tuple(checks))


def _speed(way: str):
    return lambda r: r[f"hand {way}"]["seconds"] / r[f"own {way}"]["seconds"]


def _peak(way: str):
    return lambda r: r[f"own {way}"]["bytes"] / r[f"own {way}"]["array"]


def _idle(quick) -> Target:
    jobs, length = (3, 0.3) if quick else (4, 1.0)
    states = {"busy": (2, "all workers in jobs"), "idle": (3, "a worker idle")}
    cases = {
        state: case("idle", ranks, jobs=jobs, length=length) for state, (ranks, _) in states.items()
    }
    checks = []
    for state, (_, text) in states.items():
        checks += [
            at_most(f"{state} main", f"CPU of rank 0, {text}", 2, _percent(state, "main"), "%"),
            at_most(
                f"{state} workers",
                f"CPU of the busiest worker, {text}",
                2,
                _percent(state, "workers"),
                "%",
            ),
            at_most(
                f"{state} start",
                f"from the end of a job to the start of the next, {text}",
                1,
                _milliseconds(state),
                "ms",
            ),
        ]
    return Target("idle", f"jobs that sleep for {length:g} s", cases, tuple(checks))


def _percent(state: str, who: str):
    return lambda r: 100 * r[state][who]


def _milliseconds(state: str):
    return lambda r: 1000 * r[state]["latency"]


def _balance(quick) -> Target:
    jobs = {"uniform": 100 if quick else 600, "long": 1_000}
    texts = {"uniform": "U[0, 20 ms)", "long": "one of 1 s first, 999 of 1 ms"}
    return Target(
        "balance",
        "jobs that sleep for unequal times; 3 workers",
        {name: case("balance", 4, case=name, jobs=number) for name, number in jobs.items()},
        tuple(
            at_most(
                name,
                f"makespan less 5 ms, over the least there can be, {text}",
                1.05,
                _excess(name),
            )
            for name, text in texts.items()
        ),
    )


def _excess(name: str):
    return lambda r: (r[name]["seconds"] - 0.005) / r[name]["best"]
