"""Runs scripts that report scenes, under mpiexec if ranks are requested."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from helpers.launch import mpirun

from .launch import SCRIPTS
from .scripts.playing import MARK

SECONDS = 150.0
"""The time limit, long enough for a busy machine."""

WAYS = [("alone", 1), ("with", 3), ("run", 3)]
"""Ways to start a program: one process, ranks that enter a pool together, bsbpool.run."""


@functools.cache
def scenes_of(script: str, way: str, ranks: int) -> dict[str, Any]:
    """Return the report of rank 0 for all scenes of a script. Each script runs once."""
    through = ["-m", "bsbpool.run"] if way == "run" else []
    # The scripts import modules from their folder, also under bsbpool.run.
    paths = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
    ended = mpirun(
        ranks,
        *through,
        SCRIPTS / f"{script}.py",
        timeout=SECONDS,
        env={"PYTHONPATH": paths, "OMP_NUM_THREADS": ""},
    )
    assert ended.returncode == 0, ended.stdout
    reported = [line[len(MARK) :] for line in ended.stdout.splitlines() if line.startswith(MARK)]
    assert reported, ended.stdout
    return dict(map(json.loads, reported))
