"""Start a run with many ranks, with a time limit, and show where its ranks are when it is over."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from helpers.launch import TESTS, environment, launcher, start, stop

GRACE = 15.0
"""Seconds from the dump of the stacks until the ranks are ended; many ranks start one by one."""


class Run(NamedTuple):
    """What rank 0 reported, or why it did not.

    Attributes
    ----------
    report : dict
        The figures; empty after a failure.
    problem : str
        The output and the stacks of the ranks; empty if the run was correct.
    """

    report: dict[str, Any]
    problem: str


def run(
    ranks: int,
    settings: dict[str, Any],
    *,
    python: str | Path = sys.executable,
    checks: bool = True,
    pools: int = 0,
    jobs: int = 0,
    limit: float = 60.0,
    grace: float = GRACE,
) -> Run:
    """Run the program on some ranks.

    Parameters
    ----------
    ranks : int
        How many.
    settings : dict
        The shape of the pools, as arguments of `create_job_pool`.
    python : path, optional
        Of the environment to run in.
    checks : bool
        Whether to run the checks.
    pools, jobs : int
        How many empty pools, and how many jobs in one pool, to measure; 0 for no measurement.
    limit : float
        Seconds after which each rank writes its stacks.
    grace : float
        Seconds from then until the ranks are ended.
    """
    with TemporaryDirectory() as folder:
        given = {
            "folder": folder, "limit": limit, "settings": settings, "checks": checks,
            "pools": pools, "jobs": jobs,
        }  # fmt: skip
        command = [*launcher(ranks, python), str(python), "-m", "many.program", json.dumps(given)]
        process = start(command, cwd=TESTS, env=environment(python))
        try:
            text, _ = process.communicate(timeout=limit + grace)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            stop(process)
        if late:
            text, _ = process.communicate()
            return Run({}, f"{text}\nnot ended after {limit:g} s\n{stacks_in(Path(folder))}")
    found = re.search(r"^many: (.*)$", text, re.MULTILINE)
    if process.returncode or found is None:
        return Run({}, f"{text}\nexit code {process.returncode}")
    return Run(json.loads(found[1]), "")


def stacks_in(folder: Path) -> str:
    """Return the stacks that ranks have written; equal ones once, with the ranks that have them."""
    ranks = defaultdict(list)
    for path in sorted(folder.iterdir(), key=lambda path: int(path.name)):
        text = re.sub(r"0x[0-9a-f]+", "0x...", path.read_text(errors="replace")).strip()
        ranks[text or "no stacks: it has ended, or never started"].append(path.name)
    return "\n\n".join(f"==== ranks {', '.join(ranks[text])} ====\n{text}" for text in ranks)
