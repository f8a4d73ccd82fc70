"""Plays each script once for all the tests that look at what it reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .launch import SCRIPTS, Ended, python


class Play:
    """What a script reported: ``play[scene]`` is a list of what each rank saw in a scene."""

    def __init__(self, ended: Ended, folder: Path, ranks: int) -> None:
        self.ended = ended
        self.folder = folder
        reports = [folder / f"rank{rank}.jsonl" for rank in range(max(ranks, 1))]
        self._reports = [
            dict(map(json.loads, report.read_text().splitlines())) if report.exists() else {}
            for report in reports
        ]

    def __getitem__(self, scene: str) -> list[Any]:
        missing = [rank for rank, told in enumerate(self._reports) if scene not in told]
        assert not missing, f"scene {scene!r} is missing on ranks {missing}: {self.ended.story}"
        return [told[scene] for told in self._reports]

    def main(self, scene: str) -> Any:
        """What rank 0 saw."""
        return self[scene][0]


Players = Callable[..., Play]


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Players:
    """Return ``play(script, ranks=0, pool="bsbpool")``: each is played once, without mpiexec at 0.

    A play that fails is not played again; its tests fail with what it printed.
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
