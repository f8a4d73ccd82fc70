"""Plays programs that show scenes, under mpiexec where ranks are asked for."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from helpers.launch import mpirun

from .launch import SCRIPTS
from .scripts.playing import MARK

SECONDS = 150.0
"""What takes seconds on an idle machine must not fail on a busy one."""

WAYS = [("alone", 1), ("with", 3), ("run", 3)]
"""How the ranks of a program come together: there is one, they enter together, bsbpool.run."""


@functools.cache
def scenes_of(script: str, way: str, ranks: int) -> dict[str, Any]:
    """Return what the scenes of a script saw on rank 0. Each is played once."""
    through = ["-m", "bsbpool.run"] if way == "run" else []
    # The scripts find what is beside them, also under bsbpool.run.
    paths = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
    ended = mpirun(
        ranks,
        *through,
        SCRIPTS / f"{script}.py",
        timeout=SECONDS,
        env={"PYTHONPATH": paths, "OMP_NUM_THREADS": ""},
    )
    assert ended.returncode == 0, ended.stdout
    told = [line[len(MARK) :] for line in ended.stdout.splitlines() if line.startswith(MARK)]
    assert told, ended.stdout
    return dict(map(json.loads, told))
