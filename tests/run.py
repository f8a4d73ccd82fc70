"""Run the legs of the test suite, several at a time, and print a summary.

    python tests/run.py .envs                            the legs of `make test`
    python tests/run.py .envs --all                      also those of `make test-all`
    python tests/run.py .envs --legs mpich-3 -- -k name  one leg, with arguments for pytest

`.envs` holds the environments that the Makefile makes. Legs run side by side while there are free
cores; legs that measure time run alone. The output of a leg is printed when the leg has ended.
tests/legs.py lists the legs.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from helpers.launch import environment, start, stop
from legs import CHECK, MORE, TEST, Leg

ROOT = Path(__file__).parents[1]
MINUTES = 20
"""The time limit of a leg. A test that hangs is ended long before."""
CLOSING = re.compile(r"=* ?\d+ (?:passed|failed|skipped|deselected|errors?)\b.* in \d[\d.]*s.*")


class Ending(NamedTuple):
    """How a leg ended."""

    counts: Counter[str]
    seconds: float
    problem: str
    """Why the leg failed; empty if it passed."""


class Running:
    """A leg that runs.

    Parameters
    ----------
    name : str
        Its name.
    leg : Leg
        The leg.
    python : path
        The interpreter of its environment.
    more : list of str
        Further arguments for pytest.
    """

    def __init__(self, name: str, leg: Leg, python: Path, more: list[str]) -> None:
        self.name = name
        self.output = ""
        self._began = time.monotonic()
        self._late = False
        command = leg.command(python) + more
        more_env = {"BSBPOOL_LEADERS": leg.leaders} if leg.leaders else {}
        self._process = start(command, cwd=ROOT, env=environment(python, **more_env))

    def wait(self) -> Ending:
        """Wait for the end of the leg, but not longer than its time limit."""
        try:
            self.output, _ = self._process.communicate(timeout=MINUTES * 60)
        except subprocess.TimeoutExpired:
            self._late = True
            self.stop()
            self.output, _ = self._process.communicate()
        finally:
            self.stop()
        counts, seconds = self._counts(), time.monotonic() - self._began
        return Ending(counts, seconds, self._problem(counts))

    def stop(self) -> None:
        """End all processes of the leg."""
        stop(self._process)

    def _counts(self) -> Counter[str]:
        closing = CLOSING.findall(self.output)
        found = re.findall(r"(\d+) ([a-z]+)", closing[-1]) if closing else []
        counts = Counter({kind: int(n) for n, kind in found})
        counts["failed"] += counts.pop("error", 0) + counts.pop("errors", 0)
        return counts

    def _problem(self, counts: Counter[str]) -> str:
        if self._late:
            return f"ended after {MINUTES} minutes"
        code = self._process.returncode
        if not counts["passed"] + counts["failed"]:
            return f"exit code {code}, and no test has run"
        if counts["failed"]:
            return "tests failed"
        return f"exit code {code}" if code else ""


def run_all(legs: Mapping[str, Leg], envs: Path, more: list[str]) -> dict[str, Ending]:
    """Run legs while there are free cores for them; return how they ended."""
    cores = len(os.sched_getaffinity(0))
    waiting = {name: min(leg.cores, cores) for name, leg in legs.items()}
    running: dict[str, tuple[Running, int]] = {}
    ended: queue.SimpleQueue[tuple[Running, Ending]] = queue.SimpleQueue()
    endings: dict[str, Ending] = {}
    try:
        while waiting or running:
            for name, needed in [*waiting.items()]:
                if needed <= cores - sum(taken for _, taken in running.values()):
                    del waiting[name]
                    # Not resolved: Python finds its environment by the link.
                    python = envs.absolute() / legs[name].env / "bin" / "python"
                    leg = Running(name, legs[name], python, more)
                    running[name] = leg, needed
                    print(f"{name} started", flush=True)
                    threading.Thread(
                        target=lambda leg=leg: ended.put((leg, leg.wait())), daemon=True
                    ).start()
            leg, ending = ended.get()
            del running[leg.name]
            endings[leg.name] = ending
            print(f"\n######## {leg.name}\n\n{leg.output}", flush=True)
    finally:
        for leg, _ in running.values():
            leg.stop()
    return {name: endings[name] for name in legs}


def report(endings: Mapping[str, Ending]) -> int:
    """Print a line for each leg, and the sum; return the exit code."""
    total: Counter[str] = Counter()
    print()
    for name, (counts, seconds, problem) in endings.items():
        found = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        print(f"{name:20} {seconds:6.1f} s  {'FAILED: ' + problem if problem else 'ok':8}  {found}")
        total += counts
        # A leg that was ended has failed, even if none of its tests did.
        total["failed"] += bool(problem and not counts["failed"])
    print(f"{total['passed']} passed, {total['failed']} failed", flush=True)
    return 1 if any(ending.problem for ending in endings.values()) else 0


def main() -> int:
    """Run the legs that the command line names; return the exit code."""
    known = TEST | MORE
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("envs", type=Path, help="the folder of the environments")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--legs", nargs="+", choices=known, metavar="LEG", help=", ".join(known))
    chosen.add_argument("--all", action="store_true", help="the legs of make test-all")
    chosen.add_argument("--check", action="store_true", help="the legs of make check")
    own, more = sys.argv[1:], []
    if "--" in own:
        own, more = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser.parse_args(own)
    legs = CHECK if options.check else known if options.all else TEST
    if options.legs:
        legs = {name: known[name] for name in options.legs}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the ranks are ended, too
    return report(run_all(legs, options.envs, more))


if __name__ == "__main__":
    sys.exit(main())
