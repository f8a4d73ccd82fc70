"""Compare the instructions per job with a baseline. Other load on the machine does not matter.

Programs run under valgrind's callgrind with n jobs and with 2n. The difference divided by n is the
cost of a job, without the start of Python. The baseline is kept in git. Counts of another compiler,
libc or Python cannot be compared.
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
"""The programs, and their numbers of jobs n."""
SECONDS = 300


class Verdict(NamedTuple):
    """The comparison of one count with the baseline."""

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
        print("This needs valgrind. Install it (Debian: apt install valgrind).")
        return 1
    here = environment.toolchain()
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts = count()
    if update:
        write({"toolchain": here, "instructions": counts})
    verdicts = judge(baseline.get("instructions", {}), counts)
    print(report.table(["instructions a job", "baseline", "now", "change", ""], rows(verdicts)))
    if update:
        print(f"{BASELINE.name} and {history.FILE.name} have been written; commit them.")
        return 0
    return conclude(verdicts, differences(baseline.get("toolchain", {}), here))


def judge(old: Mapping[str, float], new: Mapping[str, float]) -> list[Verdict]:
    """Compare counts with those of the baseline."""
    return [Verdict(name, old.get(name), value) for name, value in new.items()]


def conclude(verdicts: list[Verdict], other: list[str]) -> int:
    """Print the conclusion; return the exit code."""
    if other:
        print("Not compared: the baseline is of another toolchain.", *other, sep="\n    ")
        return 0
    words = {verdict.word for verdict in verdicts}
    if words & {"better", "new"}:
        print("To update the baseline: make bench-check ARGS=--update, then commit the files")
    for verdict in verdicts:
        if verdict.word == "WORSE":
            print(
                f"FAILED: {verdict.name} takes {verdict.new:,.0f} instructions a job, "
                f"{verdict.change:+.1%} over the {verdict.old:,.0f} of the baseline."
            )
    return 1 if "WORSE" in words else 0


def differences(old: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Return the differences of two toolchains; none if there is no baseline."""
    return [
        f"{key}: {old.get(key)!r} then, {here.get(key)!r} now"
        for key in sorted({*old, *here})
        if old and old.get(key) != here.get(key)
    ]


def rows(verdicts: list[Verdict]) -> list[list[str]]:
    """Return the rows of the table."""
    return [
        [v.name, f"{v.old:,.0f}" if v.old else "", f"{v.new:,.0f}", f"{v.change:+.1%}", v.word]
        for v in verdicts
    ]


def write(baseline: dict, file: Path = BASELINE) -> None:
    """Replace the baseline, and append it to the history."""
    file.write_text(json.dumps(baseline, indent=2) + "\n")
    history.append(
        {"kind": "check", "date": history.today(), "commit": environment.commit(), **baseline}
    )


def count() -> dict[str, float]:
    """Return the instructions per job of each program."""
    # Side by side, because other programs do not change the counts.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        once = {name: executor.submit(instructions, name, n) for name, n in JOBS.items()}
        twice = {name: executor.submit(instructions, name, 2 * n) for name, n in JOBS.items()}
        return {
            name: round((twice[name].result() - once[name].result()) / n, 1)
            for name, n in JOBS.items()
        }


def instructions(what: str, jobs: int) -> int:
    """Return the number of instructions of a whole program."""
    program = ["benches.programs.counted", "--what", what, "--jobs", str(jobs)]
    counted = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    # Without user packages and with fixed hashes, so that counts are reproducible.
    command = [*counted, sys.executable, "-s", "-m", *program]
    done = environment.run(command, SECONDS, PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1")
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return int(found[1])
