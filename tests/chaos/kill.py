"""One chaos run: start the ranks, kill some, and check the outcome."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from chaos.accounts import Accounts
from chaos.plan import EXIT, OVER, Plan
from helpers.launch import TESTS, environment, launcher, session, start, stop

LIMIT = 60.0
"""Time limits, in seconds: until all ranks are ready, and until a run ends."""
NOTICE = 1.0
"""Seconds until main must have noticed that a rank died inside a job."""


class Outcome(NamedTuple):
    """How a run ended."""

    plan: Plan
    kills: int
    statuses: dict[str, int]
    slowest: float
    code: int
    seconds: float
    mistakes: list[str]
    text: str


class Run:
    """A run of a plan under Open MPI's fault tolerance."""

    def __init__(self, seed: int) -> None:
        self.plan = Plan(seed)
        self.pids: dict[int, int] = {}
        self.times: dict[int, float] = {}
        self.lines: list[str] = []
        self.ready = threading.Event()

    def play(self) -> Outcome:
        """Run, and return the outcome."""
        with tempfile.TemporaryDirectory(prefix="bsbpool-chaos-") as folder:
            command, *rest = launcher(self.plan.n_ranks)
            program = [sys.executable, "-m", "chaos.program", folder, str(self.plan.seed)]
            began = time.monotonic()
            process = start(
                [command, "--with-ft", "ulfm", *rest, *program], cwd=TESTS, env=environment()
            )
            reader = threading.Thread(target=self.read, args=(process,))
            reader.start()
            try:
                self.kill_as_planned(process)
                hangs = not self.wait(process)
            finally:
                stop(process)
                reader.join()
                process.wait()
            return self.account(Path(folder), process.returncode, time.monotonic() - began, hangs)

    def read(self, process: Any) -> None:
        """Collect the output and the process ids of the ranks."""
        for line in process.stdout:
            self.lines.append(line)
            if line.startswith("here is "):
                rank, pid = map(int, line.split()[2:])
                self.pids[rank] = pid
                if len(self.pids) == self.plan.n_ranks:
                    self.ready.set()

    def kill_as_planned(self, process: Any) -> None:
        """Kill workers at the times of the plan, as long as workers are left."""
        if not self.ready.wait(LIMIT):
            return
        for kill in self.plan.kills:
            time.sleep(kill.after)
            living = [rank for rank in sorted(self.pids) if rank and self.lives(rank)]
            if not living or process.poll() is not None:
                return
            rank = living[int(kill.pick * len(living))]
            with contextlib.suppress(ProcessLookupError):
                self.times[rank] = time.time()
                os.kill(self.pids[rank], signal.SIGKILL)

    def lives(self, rank: int) -> bool:
        """Return whether the process of a rank still runs."""
        return Path(f"/proc/{self.pids[rank]}").exists() and f"end {rank}\n" not in self.lines

    def wait(self, process: Any) -> bool:
        """Wait for the end; after the time limit make all ranks print their stacks."""
        began = time.monotonic()
        while process.poll() is None:
            if time.monotonic() - began > LIMIT:
                for pid in session(process.pid):
                    if pid != process.pid:  # the launcher has no handler
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGUSR2)
                time.sleep(1)
                return False
            time.sleep(0.02)
        return True

    def account(self, folder: Path, code: int, seconds: float, hangs: bool) -> Outcome:
        """Compare the report of main with the ledgers and with the kills."""
        accounts = Accounts(folder)
        ranks = {pid: rank for rank, pid in self.pids.items()}
        self.times |= {ranks[pid]: when for pid, when in accounts.died.items() if pid in ranks}
        mistakes = accounts.mistakes(set(self.times))
        over = any(pool["over"] for pool in accounts.pools)
        # The launcher returns the exit code of a rank that ended itself.
        may_be = {OVER if over else 0} | ({EXIT} if "exit" in self.plan.ends.values() else set())
        if hangs:
            mistakes.append(f"no end after {LIMIT:g} s")
        elif code not in may_be:
            mistakes.append(f"exit code {code}")
        if over and len(self.times) < self.plan.n_ranks - 1:
            mistakes.append("the run ended though there were workers left")
        slowest = self.slowest(accounts.noticed())
        if slowest > NOTICE:
            mistakes.append(f"a death was noticed after {slowest:.1f} s")
        return Outcome(
            self.plan, len(self.times), accounts.statuses(), slowest, code, seconds, mistakes,
            "".join(self.lines),
        )  # fmt: skip

    def slowest(self, noticed: list[tuple[int, float]]) -> float:
        """Return the longest time between the death of a rank and its report."""
        return max(
            (when - self.times[rank] for rank, when in noticed if rank in self.times), default=0.0
        )
