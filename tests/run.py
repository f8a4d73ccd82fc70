"""Run the test suite in all the ways that count, each with a hard time limit, and sum up.

    python tests/run.py build/venv                       all legs
    python tests/run.py build/venv --legs mpich-3 -- -k cancel

`build/venv` holds the environments `mpich` and `openmpi` that the Makefile makes.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from helpers.launch import environment, launcher, start, stop

ROOT = Path(__file__).parents[1]
# Ranks would write pytest's cache over each other; Open MPI shows them a terminal.
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider", "--color=no")


class Leg(NamedTuple):
    """One run of pytest."""

    env: str
    ranks: int
    minutes: float
    args: tuple[str, ...]

    def command(self, python: Path) -> list[str]:
        """Return what to run."""
        mpi = (*launcher(self.ranks, python),) if self.ranks else ()
        return [*mpi, str(python), *PYTEST, *self.args]


class Ending(NamedTuple):
    """How a leg ended."""

    counts: Counter[str]
    seconds: float
    trouble: str


def legs() -> dict[str, Leg]:
    """Return the legs by name: one process, 2 to 4 ranks, and what is slow."""
    fast, slow = ("-m", "not slow"), ("-m", "slow")
    found = {
        "serial": Leg("mpich", 0, 10, fast),
        # Those serial tests that start mpiexec themselves, with the other MPI.
        "serial-openmpi": Leg("openmpi", 0, 10, (*fast, "tests/mpi", "tests/interop")),
    }
    for env in ("mpich", "openmpi"):
        for ranks in (2, 3, 4):
            found[f"{env}-{ranks}"] = Leg(env, ranks, 10, ("--with-mpi", *fast))
        found[f"slow-{env}"] = Leg(env, 2, 10, ("--with-mpi", *slow))
    return found


def run(leg: Leg, python: Path, more: list[str]) -> Ending:
    """Run a leg, pass its output on as it comes, and say how it ended."""
    began = time.monotonic()
    command = leg.command(python) + more
    process = start(command, cwd=ROOT, env=environment(python))
    watch = threading.Timer(leg.minutes * 60, stop, [process])
    watch.start()
    closing = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if re.search(r" in \d[\d.]*s\b", line) and line.startswith("="):
                closing = line
        code = process.wait()
    finally:
        late = not watch.is_alive()
        watch.cancel()
        stop(process)
    counts = Counter({kind: int(n) for n, kind in re.findall(r"(\d+) ([a-z]+)", closing)})
    counts["failed"] += counts.pop("error", 0) + counts.pop("errors", 0)
    return Ending(counts, time.monotonic() - began, _trouble(code, counts, late, leg))


def _trouble(code: int, counts: Counter[str], late: bool, leg: Leg) -> str:
    """Say what went wrong, in the way that tells most; nothing if all is well."""
    if late:
        return f"ended after {leg.minutes:g} minutes"
    if not counts["passed"] + counts["failed"]:
        return f"exit code {code} without a test's result"
    if counts["failed"]:
        return "tests failed"
    return f"exit code {code}" if code else ""


def main() -> int:
    """Run the legs that were asked for; return the exit code."""
    known = legs()
    usual = [name for name in known if not name.startswith("slow")]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("envs", type=Path, help="the folder with both environments")
    parser.add_argument("--legs", nargs="+", choices=known, default=usual, metavar="LEG")
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser.parse_args(own)
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
