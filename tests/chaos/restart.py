"""Kill whole programs at random moments, start them again, and check what each job has done.

    python -m chaos.restart [--runs 34] [--first 0] [--ranks 3]

Prints a line for each run and a sum. A run that went wrong is repeated by its seed, as far as
chance allows: ``python -m chaos.restart --runs 1 --first SEED --ranks RANKS``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bsbpool._core.journal.records import PayloadKind
from bsbpool.journal import header, side_files
from bsbpool.journal.contents import JournalContents
from bsbpool.serialization import loads
from chaos.restart_program import RestartPlan
from helpers.launch import TESTS, environment, launcher, session, start, stop

LIMIT = 60.0
"""Seconds in which a program must be ready, and must end."""
SECONDS_TO_RECORD = 3.0
"""Seconds after its effect in which the end of a job must be in the journal; mostly 10 ms."""
MOST_KILLS = 5
SUCCESS = 3


class RestartRun:
    """A program that is killed and started again until it ends.

    Parameters
    ----------
    seed : int
        Determines the jobs and the moments.
    ranks : int
        The number of ranks; with 1 there is no mpiexec.
    most_kills : int
        How often it is killed at most.

    Attributes
    ----------
    kills : int
        How often it was killed.
    again : int
        How often a job ran once more, since it was running when the program was killed.
    torn : int
        How often the journal ended in a part of a record.
    mistakes : list of str
        What went wrong.
    """

    def __init__(self, seed: int, ranks: int, most_kills: int = MOST_KILLS) -> None:
        self.seed, self.ranks = seed, ranks
        self.plan = RestartPlan(seed)
        self.choose = random.Random(seed + 1_000_003 * ranks)
        self.n_kills = self.choose.randint(1, most_kills)
        self.kills = self.again = self.torn = 0
        self.started_at, self.killed_at = math.inf, math.inf
        self.mistakes: list[str] = []
        self.effects: Counter[int] = Counter()
        self.recorded: set[int] = set()

    def play(self) -> None:
        """Run until the program has ended."""
        with tempfile.TemporaryDirectory(prefix="bsbpool-restart-") as name:
            folder = Path(name)
            (folder / "effects").mkdir()
            for attempt in range(self.n_kills + 1):
                text, killed = self.start(folder, attempt < self.n_kills)
                self.account(folder, text)
                if not killed:
                    break
                self.kills += 1
                if self.choose.random() < 0.3:
                    self.tear(folder / "run.journal")
            self.check_results(folder, text)

    def tear(self, path: Path) -> None:
        """Append a part of a record, which a kill seldom leaves; the next start must cut it off."""
        if path.exists() and path.stat().st_size > header.SIZE + 80:
            record = path.read_bytes()[header.SIZE : header.SIZE + 80]
            with path.open("ab") as file:
                file.write(record)
            self.torn += 1

    def start(self, folder: Path, to_be_killed: bool) -> tuple[str, bool]:
        """Start the program; return what it printed, and whether it was killed."""
        program = [sys.executable, "-m", "chaos.restart_program", str(folder), str(self.seed)]
        command = [*(launcher(self.ranks) if self.ranks > 1 else []), *program]
        self.started_at = time.time()
        process = start(command, cwd=TESTS, env=environment())
        lines: list[str] = []
        ready = threading.Event()

        def read() -> None:
            for line in process.stdout or ():
                lines.append(line)
                if line.startswith("ready"):
                    ready.set()
            ready.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            if to_be_killed:
                self.wait_for_moment(ready)
            else:
                with contextlib.suppress(Exception):
                    process.wait(LIMIT)
            killed = process.poll() is None
            self.killed_at = time.time()
            kill_session(process)
        finally:
            stop(process)
            process.wait()
            reader.join(LIMIT)
        if killed and not to_be_killed:
            self.mistakes.append(f"the program did not end within {LIMIT:g} s")
        return "".join(lines), killed and to_be_killed

    def wait_for_moment(self, ready: threading.Event) -> None:
        """Wait until a random moment: mostly while jobs run, sometimes before."""
        if self.choose.random() < 0.1:
            time.sleep(self.choose.random() * 0.5)
            return
        ready.wait(LIMIT)
        seconds = sum(job.seconds for job in self.plan.jobs) / max(self.ranks - 1, 1)
        time.sleep(self.choose.random() * (1.2 * seconds + 0.05))

    def account(self, folder: Path, text: str) -> None:
        """Compare the effects with those before this start, and with the journal."""
        effects = Counter({
            int(path.name): len(path.read_text().splitlines())
            for path in (folder / "effects").iterdir()
        })  # fmt: skip
        again = 0
        for number, n in effects.items():
            more = n - self.effects[number]
            if more and number in self.recorded:
                self.mistakes.append(f"job {number} ran again, though its end was recorded")
            if more > 1:
                self.mistakes.append(f"job {number} ran {more} times in one run")
            again += more > 0 and self.effects[number] > 0
        if again > 1 and self.ranks == 1 and self.plan.sync == "always":
            self.mistakes.append(f"{again} jobs ran again, but only one was running")
        self.again += again
        self.effects = effects
        try:
            recorded = self.read_journal(folder / "run.journal")
        except Exception as error:
            self.mistakes.append(f"the journal cannot be read: {error!r}\n{text}")
            return
        if lost := self.recorded - recorded:
            self.mistakes.append(f"the journal has lost the jobs {sorted(lost)}")
        if late := self.effects_before(folder, self.killed_at - SECONDS_TO_RECORD) - recorded:
            self.mistakes.append(
                f"jobs ended {SECONDS_TO_RECORD:g} s before the kill and were not recorded: "
                f"{sorted(late)}"
            )
        if made_up := recorded - set(effects):
            self.mistakes.append(f"the journal has jobs that did not run: {sorted(made_up)}")
        self.recorded = recorded

    def effects_before(self, folder: Path, end: float) -> set[int]:
        """Return the numbers of the jobs that ran in the last start, before a time."""
        return {
            int(path.name)
            for path in (folder / "effects").iterdir()
            if self.started_at < path.stat().st_mtime < end
        }

    def read_journal(self, path: Path) -> set[int]:
        """Return the numbers of the jobs that succeeded, after a check of their results."""
        if not path.exists():
            return set()
        # Not a JournalFile, which cuts off a torn end: the program that starts next must do that.
        contents = JournalContents(str(path))
        expected = self.plan.results()
        found = set()
        if contents.damaged:
            self.mistakes.append(f"the journal is damaged: {contents.damaged}")
        self.torn += contents.torn > 0
        for _, status, kind, _, payload, buffers, _ in contents.ends():
            if kind == PayloadKind.SIDE_FILE:
                reference = side_files.unpack(payload)
                payload, buffers = side_files.SideFiles(str(path)).read(reference)
            number, digest, _ = loads(bytes(payload), [bytearray(each) for each in buffers])
            if status != SUCCESS or digest != expected[number]:
                self.mistakes.append(f"job {number} has a wrong record: {status}, {digest}")
            found.add(number)
        return found

    def check_results(self, folder: Path, text: str) -> None:
        """Check the results of the last start."""
        path = folder / "results.json"
        if not path.exists():
            self.mistakes.append(f"there are no results; the last start printed\n{text}")
        elif json.loads(path.read_text()) != self.plan.results():
            self.mistakes.append("the results are wrong")
        if len(self.effects) != len(self.plan.jobs):
            self.mistakes.append(f"{len(self.effects)} of {len(self.plan.jobs)} jobs ran")


def kill_session(process: Any) -> None:
    """Kill all processes of a program at once, and wait until they have ended."""
    for _ in range(500):
        left = session(process.pid)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.poll()
        if not left:
            return
        time.sleep(0.01)


def main() -> int:
    """Play many runs; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=34)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--ranks", type=int, default=1)
    options = parser.parse_args()
    sums: Counter[str] = Counter()
    print("  seed ranks  jobs kills again seconds")
    for seed in range(options.first, options.first + options.runs):
        run = RestartRun(seed, options.ranks)
        began = time.monotonic()
        run.play()
        seconds = time.monotonic() - began
        n_jobs = len(run.plan.jobs)
        print(
            f"{seed:6d} {options.ranks:5d} {n_jobs:5d} {run.kills:5d} {run.again:5d} "
            f"{seconds:7.1f}",
            flush=True,
        )
        if run.mistakes:
            print(*run.mistakes, sep="\n", flush=True)
        sums.update(
            runs=1, bad=bool(run.mistakes), kills=run.kills, again=run.again, jobs=n_jobs,
            torn=run.torn,
        )  # fmt: skip
    print(
        f"{sums['runs']} runs of {sums['jobs']} jobs on {options.ranks} ranks, killed "
        f"{sums['kills']} times: {sums['again']} jobs ran once more, {sums['torn']} journals had "
        f"a torn end, {sums['bad']} runs went wrong."
    )
    return 1 if sums["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
