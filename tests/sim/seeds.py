"""Running seeds, and reporting one that fails."""

import faulthandler
import subprocess
from pathlib import Path

from sim.plan import draw, show
from sim.shrink import failure_of, shrink
from sim.simulation import simulate

ROOT = Path(__file__).parents[2]
SECONDS_A_SEED = 300
"""The real seconds after which a seed that hangs ends its process and prints the stacks."""


def check_seed(seed, run=simulate, tries=200):
    """Run a seed; return None, or the report of a failure with a smaller plan that also fails."""
    plan = draw(seed)
    failure = failure_of(plan, run)
    if failure is None:
        return None
    return report(seed, failure, *shrink(plan, lambda plan: failure_of(plan, run), tries))


def report(seed, failure, small, small_failure):
    return "\n".join(
        (
            f"seed {seed} of commit {commit()}: {type(failure).__name__}: {failure}",
            f"again:  make sim FIRST={seed} SEEDS=1",
            f"small:  {type(small_failure).__name__}: {small_failure}",
            "        cd tests && python -c 'from sim.plan import *; from sim.simulation import "
            f"simulate; simulate({show(small)})'",
        )
    )


def commit():
    """Return the commit of the sources, and whether they were changed since."""

    def git(*args):
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    try:
        changed = " with changes" if git("status", "--porcelain", "-uno") else ""
        return (git("rev-parse", "HEAD") or "unknown") + changed
    except OSError:
        return "unknown"


def work(seeds, at, reports):
    """Run seeds in a child process; `at` is the seed that is running."""
    for seed in seeds:
        at.value = seed
        faulthandler.dump_traceback_later(SECONDS_A_SEED, exit=True)
        found = check_seed(seed)
        if found is not None:
            reports.put(found)
    faulthandler.cancel_dump_traceback_later()
    at.value = -1
