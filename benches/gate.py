"""The gate against regressions: instructions per job, which a noisy machine does not change.

A program runs with n jobs and with 2n below valgrind's callgrind; the difference over n is what
a job costs, without what starting Python costs. It is held against a baseline that is kept in
git. Counts of another compiler, libc or Python do not compare.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benches import environment, history, report

BASELINE = Path(__file__).parent / "baseline.json"
TOLERANCE = 0.03
JOBS = {"core": 40_000, "serial": 8_000, "bulk": 8_000}
"""What is counted, and n."""
SECONDS = 300


class Verdict(NamedTuple):
    """What became of one count."""

    name: str
    old: float | None
    new: float

    @property
    def change(self) -> float:
        return round(self.new / self.old - 1, 6) if self.old else 0.0

    @property
    def word(self) -> str:
        if self.old is None:
            return "new"
        if self.change > TOLERANCE:
            return "WORSE"
        return "better" if self.change < -TOLERANCE else "as before"


def check(update: bool) -> int:
    """Count, compare with the baseline or replace it; return the exit code."""
    if not shutil.which("valgrind"):
        print("The gate needs valgrind. Install it (Debian: apt install valgrind).")
        return 1
    here = environment.toolchain()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts = count()
    if update:
        write({"toolchain": here, "instructions": counts})
    verdicts = judge(baseline.get("instructions", {}), counts)
    print(report.table(["instructions a job", "baseline", "now", "change", ""], rows(verdicts)))
    if update:
        print(f"{BASELINE.name} and {history.FILE.name} are written; commit them.")
        return 0
    return conclude(verdicts, differences(baseline.get("toolchain", {}), here))


def judge(old: Mapping[str, float], new: Mapping[str, float]) -> list[Verdict]:
    """Hold counts against those of the baseline."""
    return [Verdict(name, old.get(name), value) for name, value in new.items()]


def conclude(verdicts: list[Verdict], other: list[str]) -> int:
    """Say what follows; return the exit code."""
    if other:
        print("Not compared: the baseline was counted elsewhere.", *other, sep="\n    ")
        return 0
    words = {verdict.word for verdict in verdicts}
    if words & {"better", "new"}:
        print("To hold what was gained, commit what this writes: make bench-check ARGS=--update")
    for verdict in verdicts:
        if verdict.word == "WORSE":
            print(
                f"FAILED: {verdict.name} takes {verdict.new:,.0f} instructions a job, "
                f"{verdict.change:+.1%} over the {verdict.old:,.0f} of the baseline."
            )
    return 1 if "WORSE" in words else 0


def differences(old: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Return in what two toolchains differ; nothing when there is no baseline yet."""
    return [
        f"{key}: {old.get(key)!r} then, {here.get(key)!r} now"
        for key in sorted({*old, *here})
        if old and old.get(key) != here.get(key)
    ]


def rows(verdicts: list[Verdict]) -> list[list[str]]:
    """Return the lines of the table."""
    return [
        [v.name, f"{v.old:,.0f}" if v.old else "", f"{v.new:,.0f}", f"{v.change:+.1%}", v.word]
        for v in verdicts
    ]


def write(baseline: dict, file: Path = BASELINE) -> None:
    """Replace the baseline, and remember it in the history."""
    file.write_text(json.dumps(baseline, indent=2) + "\n")
    history.append(
        {"kind": "check", "date": history.today(), "commit": environment.commit(), **baseline}
    )


def count() -> dict[str, float]:
    """Return the instructions a job takes, for each of what is counted."""
    # Side by side: other programs do not change what is counted.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        once = {name: executor.submit(instructions, name, n) for name, n in JOBS.items()}
        twice = {name: executor.submit(instructions, name, 2 * n) for name, n in JOBS.items()}
        return {
            name: round((twice[name].result() - once[name].result()) / n, 1)
            for name, n in JOBS.items()
        }


def instructions(what: str, jobs: int) -> int:
    """Return how many instructions a whole program takes."""
    program = ["benches.programs.counted", "--what", what, "--jobs", str(jobs)]
    counted = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    # Python without site's variety, and with the same hashes each time.
    command = [*counted, sys.executable, "-s", "-m", *program]
    done = environment.run(command, SECONDS, PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1")
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return int(found[1])
