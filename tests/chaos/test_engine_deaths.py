"""Engines of the interface of ipyparallel that die."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

import bsbpool.integrations.ipyparallel as ipp
from chaos.test_deaths import survives

SECONDS = 20.0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(folder: str) -> str:
    if not Path(folder, "died").exists():
        Path(folder, "died").touch()
        die()
    return "survived"


@survives(4, 1)
def test_tasks_of_dead_engines_fail_or_run_again() -> None:
    with tempfile.TemporaryDirectory() as folder, ipp.Cluster() as rc:
        if rc is None:
            return
        view = rc.load_balanced_view(retries=2)
        assert view.apply_async(die_once, folder).get(SECONDS) == "survived"
        assert len(rc.ids) == 2
        assert rc[:].apply_async(abs, -1).get(SECONDS) == [1, 1]
        assert view.map_sync(abs, range(20)) == list(range(20))
        assert rc.wait(timeout=SECONDS) and not rc.outstanding


@survives(4, 2)
def test_dead_engines_are_not_used() -> None:
    with ipp.Cluster() as rc:
        if rc is None:
            return
        with pytest.raises(ipp.EngineError, match="died while it ran the task") as caught:
            rc[0].apply_async(die).get(SECONDS)
        assert caught.value.engine_info["engine_id"] == 0
        assert rc.ids == [1, 2]
        os.kill(rc.engines.pids[2], signal.SIGKILL)  # while it runs nothing
        end = time.monotonic() + SECONDS
        while rc.ids != [1] and time.monotonic() < end:
            rc.load_balanced_view().apply_async(abs, -1).wait(SECONDS)
            time.sleep(0.05)
        assert rc[:].apply_async(abs, -1).get(SECONDS) == [1]
        with pytest.raises(IndexError, match="no engine 2"):
            rc[2]
