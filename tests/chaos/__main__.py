"""Kill ranks of real runs at random times, and check what became of every job.

    python -m chaos [--kills 200] [--first 0]

Needs Open MPI. Prints a line for each run and a sum; a run that went wrong is shown whole, and is
repeated by its seed, as far as chance allows: ``python -m chaos --kills 1 --first SEED``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter

from chaos.kill import Outcome, Run
from helpers.launch import is_openmpi, launcher

HEAD = "  seed ranks pools  jobs kills  success  failed cancelled aborted  noticed  code  seconds"


def line(outcome: Outcome) -> str:
    """Return a row of the table."""
    plan, ends = outcome.plan, outcome.statuses
    return (
        f"{plan.seed:6d} {plan.n_ranks:5d} {plan.n_pools:5d} {plan.n_pools * plan.n_jobs:5d} "
        f"{outcome.kills:5d} {ends.get('success', 0):8d} {ends.get('failed', 0):7d} "
        f"{ends.get('cancelled', 0):9d} {ends.get('aborted', 0):7d} "
        f"{outcome.slowest * 1e3:5.0f} ms {outcome.code:5d} {outcome.seconds:8.1f}"
    )


def main() -> int:
    """Run until enough ranks have been killed; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    if not is_openmpi(launcher(2)[0]):
        parser.error("only Open MPI goes on when a rank has died; use the Python beside it")
    print(HEAD, flush=True)
    sums: Counter[str] = Counter()
    kills = runs = bad = 0
    slowest = 0.0
    for seed in itertools.count(options.first):
        outcome = Run(seed).play()
        print(line(outcome), flush=True)
        if outcome.mistakes:
            bad += 1
            print(outcome.text)
            print(*outcome.mistakes[:20], f"{len(outcome.mistakes)} mistakes", sep="\n", flush=True)
        sums.update(outcome.statuses)
        kills += outcome.kills
        runs += 1
        slowest = max(slowest, outcome.slowest)
        if kills >= options.kills:
            break
    print(
        f"{kills} ranks killed in {runs} runs, {bad} runs went wrong. {sum(sums.values())} jobs: "
        + ", ".join(f"{n} {status}" for status, n in sorted(sums.items()))
        + f". Slowest notice {slowest * 1e3:.0f} ms."
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
