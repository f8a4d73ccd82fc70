"""Runs each script once for all tests that check its report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .launch import SCRIPTS, Ended, python


class Play:
    """The report of a script: ``play[scene]`` lists what each rank reported for a scene."""

    def __init__(self, ended: Ended, folder: Path, ranks: int) -> None:
        self.ended = ended
        self.folder = folder
        reports = [folder / f"rank{rank}.jsonl" for rank in range(max(ranks, 1))]
        self._reports = [
            dict(map(json.loads, report.read_text().splitlines())) if report.exists() else {}
            for report in reports
        ]

    def __getitem__(self, scene: str) -> list[Any]:
        missing = [rank for rank, reported in enumerate(self._reports) if scene not in reported]
        assert not missing, f"scene {scene!r} is missing on ranks {missing}: {self.ended.story}"
        return [reported[scene] for reported in self._reports]

    def main(self, scene: str) -> Any:
        """Return the report of rank 0."""
        return self[scene][0]


Players = Callable[..., Play]


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Players:
    """Return ``play(script, ranks=0, pool="bsbpool")``, which runs each script once; 0: no mpiexec.

    A script that fails is not run again; its tests fail with its output.
    """
    plays: dict[tuple[str, int, str], Play] = {}

    def play(script: str, ranks: int = 0, pool: str = "bsbpool", **options: Any) -> Play:
        key = (script, ranks, pool)
        if key not in plays:
            folder = tmp_path_factory.mktemp("-".join(map(str, key)))
            ended = python(SCRIPTS / f"{script}.py", folder, pool, ranks=ranks, **options)
            plays[key] = Play(ended, folder, ranks)
        return plays[key]

    return play
