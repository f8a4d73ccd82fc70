"""Start Python in new processes, under mpiexec if ranks are requested.

Every command has a time limit. When it has ended, for any reason, its whole session
of processes is killed: launchers give their ranks groups of their own, and orphans
would keep the cores busy.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.launch import environment, launcher

SCRIPTS = Path(__file__).parent / "scripts"
EXAMPLES = Path(__file__).parents[2] / "examples"
MOST_SECONDS = 180.0
"""The time limit, long enough for a busy machine."""


INSTALL = """
from bsbpool.integrations import bsb as adapter
adapter.install()
"""
"""The first lines of a program that runs bsb on bsbpool."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended; `status` is None after the time limit."""

    command: Sequence[str]
    status: int | None
    output: str

    @property
    def story(self) -> str:
        """Describe the run, for the report of a failed test."""
        end = "was out of time" if self.status is None else f"ended with status {self.status}"
        return f"{' '.join(self.command)}\n{end} after printing:\n{self.output}"

    def ok(self) -> Ended:
        """Check that the exit status is 0."""
        assert self.status == 0, self.story
        return self


def run(
    command: Sequence[Any],
    seconds: float = MOST_SECONDS,
    cwd: Path | None = None,
    **variables: str,
) -> Ended:
    """Run a command, with further environment variables, and end all of its processes."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as printed:  # not a pipe, which orphaned processes keep open
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment(**(_paths() | {"SECONDS_LEFT": str(seconds)} | variables)),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(seconds)
        finally:
            kill_session(process.pid)
            process.wait()
        printed.seek(0)
        return Ended(command, status, printed.read().decode(errors="replace"))


def python(*arguments: Any, ranks: int = 0, **options: Any) -> Ended:
    """Run the interpreter of this environment, on a number of ranks or without a launcher."""
    return run([*(launcher(ranks) if ranks else []), sys.executable, *arguments], **options)


def evaluate(code: str, **options: Any) -> Any:
    """Run code in a new interpreter; return the value that it passes to its function `report`."""
    with tempfile.NamedTemporaryFile("r") as answer:
        prelude = f"import json\ndef report(x): json.dump(x, open({answer.name!r}, 'w'))\n"
        ended = python("-c", prelude + code, **options).ok()
        text = answer.read()
        assert text, f"the code did not call report(): {ended.story}"
        return json.loads(text)


def kill_session(leader: int) -> None:
    """Kill all processes of the session that `leader` began."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            session = int(stat.read_text().rpartition(")")[2].split()[3])
            if session == leader:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def _paths() -> dict[str, str]:
    paths = [str(SCRIPTS), str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}
