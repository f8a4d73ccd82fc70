"""Run the test suite in all the ways that count, each with a hard time limit, and sum up.

    python tests/run.py .envs                       all legs
    python tests/run.py .envs --legs mpich-3 -- -k cancel

`.envs` holds the environments `mpich`, `openmpi` and `sanitize` that the Makefile makes.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from helpers.launch import environment, launcher, start, stop

ROOT = Path(__file__).parents[1]
MINUTES = 20
"""How long a leg may take; a test that hangs is ended long before."""
# Ranks would write pytest's cache over each other; Open MPI shows them a terminal.
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--durations=10")


CLOSING = re.compile(r"=* ?\d+ (passed|failed|skipped|deselected|errors?)\b.* in \d[\d.]*s")


class Leg(NamedTuple):
    """One run of pytest."""

    env: str
    ranks: int
    args: tuple[str, ...]
    under: tuple[str, ...] = ()

    def command(self, python: Path) -> list[str]:
        """Return what to run."""
        mpi = (*launcher(self.ranks, python),) if self.ranks else ()
        return [*mpi, str(python), *self.under, *PYTEST, *self.args]


class Ending(NamedTuple):
    """How a leg ended."""

    counts: Counter[str]
    seconds: float
    trouble: str


def legs() -> dict[str, Leg]:
    """Return the legs by name."""
    fast = ("-m", "not slow and not many_ranks")
    elsewhere = ("chaos", "fuzz", "interop")
    # What the sanitizers watch for does not depend on chance as much as the rest does.
    few = ("tests/core", "tests/fuzz", "--ignore=tests/core/test_scale.py", "--effort=0.2")
    # Again with the other MPI: tests that start mpiexec themselves.
    launching = (
        "tests/helpers",
        "tests/interop/test_network.py",
        "tests/api/test_across_ranks.py",
        "tests/api/test_defects.py",
        "tests/api/test_ends.py",
        "tests/api/test_services.py",
        "tests/chaos",
        "tests/soak",
    )
    doors = (
        "tests/futures/test_run.py",
        "tests/api/test_other_pools.py",
        "tests/interop/test_examples.py",
        "tests/interop/test_joblib.py",
        "tests/interop/test_moving.py",
        "tests/interop/test_scinexus.py",
    )
    return {
        "serial": Leg("mpich", 0, tuple(f"--ignore=tests/{name}" for name in elsewhere)),
        "interop": Leg("mpich", 0, ("tests/interop",)),
        "launch-openmpi": Leg("openmpi", 0, (*fast, *launching)),
        "doors-openmpi": Leg("openmpi", 0, (*fast, *doors)),
        "sanitized": Leg("sanitize", 0, few, under=("tests/helpers/under.py", "asan")),
        "mpich-2": Leg("mpich", 2, ("--with-mpi", "-m", "not many_ranks")),
        "mpich-3": Leg("mpich", 3, ("--with-mpi", *fast)),
        "mpich-4": Leg("mpich", 4, ("--with-mpi", "-m", "not slow")),
        "openmpi-2": Leg("openmpi", 2, ("--with-mpi", "-m", "not many_ranks")),
        "openmpi-3": Leg("openmpi", 3, ("--with-mpi", *fast)),
        "openmpi-4": Leg("openmpi", 4, ("--with-mpi", *fast)),
    }


def run(leg: Leg, python: Path, more: list[str]) -> Ending:
    """Run a leg, pass its output on as it comes, and say how it ended."""
    began = time.monotonic()
    command = leg.command(python) + more
    process = start(command, cwd=ROOT, env=environment(python))
    late = threading.Event()

    def end() -> None:
        late.set()
        stop(process)

    watch = threading.Timer(MINUTES * 60, end)
    watch.start()
    closing = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if CLOSING.match(line):
                closing = line
        code = process.wait()
    finally:
        watch.cancel()
        stop(process)
    counts = Counter({kind: int(n) for n, kind in re.findall(r"(\d+) ([a-z]+)", closing)})
    counts["failed"] += counts.pop("error", 0) + counts.pop("errors", 0)
    return Ending(counts, time.monotonic() - began, _trouble(code, counts, late.is_set()))


def _trouble(code: int, counts: Counter[str], late: bool) -> str:
    """Say what went wrong, in the way that tells most; nothing if all is well."""
    if late:
        return f"ended after {MINUTES} minutes"
    if not counts["passed"] + counts["failed"]:
        return f"exit code {code} without a test's result"
    if counts["failed"]:
        return "tests failed"
    return f"exit code {code}" if code else ""


def main() -> int:
    """Run the legs that were asked for; return the exit code."""
    known = legs()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("envs", type=Path, help="the folder with the environments")
    parser.add_argument("--legs", nargs="+", choices=known, default=[*known], metavar="LEG")
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser.parse_args(own)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without ending the ranks
    endings = {}
    for name in options.legs:
        leg = known[name]
        # Not resolved: the link in the environment is what makes Python find it.
        python = options.envs.absolute() / leg.env / "bin" / "python"
        print(f"\n######## {name}\n", flush=True)
        endings[name] = run(leg, python, more)
    print()
    total: Counter[str] = Counter()
    for name, (counts, seconds, trouble) in endings.items():
        told = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        print(f"{name:15} {seconds:6.1f} s  {'FAILED: ' + trouble if trouble else 'ok':8}  {told}")
        total += counts
        # A leg that died has failed, though no test of it was counted.
        total["failed"] += bool(trouble and not counts["failed"])
    print(f"{total['passed']} passed, {total['failed']} failed", flush=True)
    return 1 if any(ending.trouble for ending in endings.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
