"""Targets for the throughput of jobs."""

from __future__ import annotations

from benches.targets.kinds import Target, at_least, at_most, case, each, rate


def targets(quick: bool) -> list[Target]:
    own = case("noop", 2, jobs=20_000 if quick else 200_000)
    loop = case("loop", 2, jobs=20_000 if quick else 400_000)
    return [
        _noop(quick, own, loop),
        _cpu(own),
        _bulk(quick, loop),
        _serial(quick),
        _listener(quick),
        _crowded(quick),
        *(_submit(quick, ranks) for ranks in (2, 3)),
        _map(quick),
    ]


def _noop(quick, own, loop) -> Target:
    upstream = 300 if quick else 4_000
    return Target(
        "noop",
        "no-op jobs, each queued, results checked; 2 ranks",
        {
            "own": own,
            "loop": loop,
            "futures": case("noop_futures", 2, jobs=500 if quick else 10_000),
            "own as bsb": case("noop", 2, jobs=upstream),
            "bsb": case("noop_bsb", 2, needs="bsb", jobs=upstream),
        },
        (
            at_least(
                "loop",
                "rate over a hand-written loop's",
                0.5,
                lambda r: rate(r["own"]) / rate(r["loop"]),
            ),
            at_least(
                "futures",
                "rate over mpi4py.futures'",
                100,
                lambda r: rate(r["own"]) / rate(r["futures"]),
            ),
            at_least(
                "bsb",
                f"rate over bsb-core's, {upstream:,} jobs each",
                1_000,
                lambda r: rate(r["own as bsb"]) / rate(r["bsb"]),
            ),
            at_most(
                "bsb cpu",
                f"CPU of rank 0 over bsb-core's, {upstream:,} jobs each",
                1,
                lambda r: 100 * each(r["own as bsb"], "cpu") / each(r["bsb"], "cpu"),
                "%",
            ),
        ),
    )


def _cpu(own) -> Target:
    return Target(
        "cpu",
        "CPU time of rank 0 for each such job",
        {"own": own},
        (at_most("job", "CPU a job", 1.5, lambda r: each(r["own"], "cpu"), "us"),),
    )


def _bulk(quick, loop) -> Target:
    return Target(
        "bulk",
        "no-op jobs by queue_many, results checked; 2 ranks",
        {"own": case("noop", 2, jobs=20_000 if quick else 400_000, bulk=True), "loop": loop},
        (
            at_least(
                "loop", "rate over that loop's", 0.9, lambda r: rate(r["own"]) / rate(r["loop"])
            ),
        ),
    )


def _serial(quick) -> Target:
    many, few = 100_000 if quick else 1_000_000, 10_000
    return Target(
        "serial",
        "no-op jobs in one process",
        {
            "many": case("noop", jobs=many),
            "few": case("noop", jobs=few, repeats=5 if quick else 21),
        },
        (
            at_least("rate", "rate", 500_000, lambda r: rate(r["many"]), "jobs/s"),
            at_most(
                "flat",
                f"cost a job with {many:,} over that with {few:,}",
                1.2,
                lambda r: each(r["many"]) / each(r["few"]),
            ),
        ),
    )


def _listener(quick) -> Target:
    jobs = 20_000 if quick else 200_000
    return Target(
        "listener",
        "no-op jobs while a listener counts all events",
        {
            "serial": case("noop", jobs=jobs, listen=True),
            "ranks": case("noop", 2, jobs=jobs, listen=True),
        },
        (
            at_least("serial", "rate, serial", 150_000, lambda r: rate(r["serial"]), "jobs/s"),
            at_least("ranks", "rate, 2 ranks", 150_000, lambda r: rate(r["ranks"]), "jobs/s"),
        ),
    )


def _crowded(quick) -> Target:
    jobs = 10_000 if quick else 100_000
    cases = {
        f"{mpi} {ranks}": case("noop", ranks, jobs=jobs, us=5.0, env=env)
        for mpi, env in (("MPICH", ""), ("Open MPI", "openmpi"))
        for ranks in (2, 8)
    }

    def share(mpi):
        return lambda r: rate(r[f"{mpi} 8"]) / rate(r[f"{mpi} 2"])

    return Target(
        "crowded",
        "jobs that spin for 5 us, 8 ranks on these cores",
        cases,
        tuple(
            at_least(name, f"rate over that of 2 ranks, {mpi}", 0.5, share(mpi))
            for name, mpi in (("mpich", "MPICH"), ("openmpi", "Open MPI"))
        ),
    )


def _submit(quick, ranks) -> Target:
    own, theirs = (5_000, 200) if quick else (200_000, 10_000)
    return Target(
        f"submit {ranks}",
        f"no-op calls, each submitted to an executor, results checked; {ranks} ranks",
        {
            "own": case("executors", ranks, jobs=own),
            "futures": case("executors", ranks, jobs=theirs, mpi4py=True),
        },
        (
            at_least(
                "futures",
                "rate over mpi4py.futures'",
                40,
                lambda r: rate(r["own"]) / rate(r["futures"]),
            ),
        ),
    )


def _map(quick) -> Target:
    items = 20_000 if quick else 2_000_000
    sizes = (1_000, 10_000) if quick else (300, 1_000, 3_000, 10_000)
    theirs = {
        f"futures {size}": case("executors", 2, jobs=items, map=True, mpi4py=True, chunksize=size)
        for size in sizes
    }
    return Target(
        "map",
        "no-op calls by map, which chooses chunks by itself; 2 ranks",
        {"own": case("executors", 2, jobs=items, map=True), **theirs},
        (
            at_least(
                "futures",
                "rate over that of mpi4py.futures at its best chunksize",
                1,
                lambda r: rate(r["own"]) / max(rate(r[name]) for name in theirs),
            ),
        ),
    )
