"""A compile that was cut off goes on, and makes the same network as one that was not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Players
from .launch import SCRIPTS, Ended, evaluate, python

pytestmark = pytest.mark.interop

OPTIONS = ["--journal", "run.journal"]
CHECKPOINT = ["--checkpoint-file", "copy.hdf5"]
LEFT = 75
RANKS = [pytest.param(0, marks=pytest.mark.long), 3]

DESCRIBE = """
from pathlib import Path
import tissue
report(tissue.describe(Path("network.hdf5").absolute()))
"""
READ = """
from bsb import from_storage
from fingerprints import fingerprints
report(fingerprints(from_storage("network.hdf5")))
"""


class Compile:
    """A compile with a journal in a folder."""

    def __init__(self, folder: Path, ranks: int = 0) -> None:
        self.folder = folder
        self.ranks = ranks
        self.network = folder / "network.hdf5"
        self.tree = evaluate(DESCRIBE, cwd=folder)
        self.configure()

    def configure(self, **more: Any) -> None:
        """Write the configuration."""
        (self.folder / "network.json").write_text(json.dumps(self.tree | more))

    def run(self, *options: str) -> Ended:
        """Run the command to its end."""
        return self._start("-m", "bsbpool", "bsb", "compile", "network.json", *OPTIONS, *options)

    def cut_off(self, action: str, writes: int, seconds: float, *options: str) -> Ended:
        """Run the command, and cut it off."""
        how = [action, str(writes), str(seconds)]
        command = ["compile", "network.json", *OPTIONS, *options]
        return self._start(SCRIPTS / "cut_off.py", *how, *command)

    def _start(self, *arguments: Any) -> Ended:
        return python(*arguments, ranks=self.ranks, cwd=self.folder)

    def digests(self) -> Any:
        """Return the digests of the network."""
        return evaluate(READ, cwd=self.folder)


@pytest.fixture
def compile_in(tmp_path: Path) -> Callable[[int], Compile]:
    """Return a function that makes a compile in a new folder."""
    return lambda ranks: Compile(tmp_path, ranks)


@pytest.fixture(scope="session")
def digests(play: Players) -> Any:
    """Return the digests of the network as bsb builds it without interruptions."""
    return play("build", pool="bsb").main("own")["digests"]


@pytest.mark.parametrize(
    ("ranks", "kills"),
    [
        (0, 2),
        pytest.param(0, 10, marks=pytest.mark.long),
        pytest.param(3, 10, marks=pytest.mark.long),
    ],
)
def test_kills(compile_in: Callable[[int], Compile], digests: Any, ranks: int, kills: int) -> None:
    rng = random.Random(17 * ranks + kills)
    compiled = compile_in(ranks)
    most = max(30 // kills // max(ranks - 1, 1), 1)
    n_killed = 0
    while n_killed < kills:
        seconds = rng.uniform(0, 0.03)
        killed = compiled.cut_off("kill", rng.randint(1, most), seconds, *CHECKPOINT)
        if killed.status == 0:
            break  # a slow machine lets a run come far before it is killed
        assert "Error" not in killed.output, killed.story
        n_killed += 1
    assert n_killed >= (kills + 1) // 2
    compiled.run(*CHECKPOINT).ok()
    assert compiled.digests() == digests


@pytest.mark.parametrize("ranks", RANKS)
def test_leaving_in_time(compile_in: Callable[[int], Compile], digests: Any, ranks: int) -> None:
    compiled = compile_in(ranks)
    left = compiled.cut_off("leave", 10 if ranks == 0 else 5, 0, "--grace", "0")
    assert left.status == LEFT, left.story
    assert "Run the same command again" in left.output
    rest = compiled.run("--grace", "0").ok()
    assert "after_connectivity (5 of 5): 1/1 jobs succeeded" in rest.output
    assert compiled.digests() == digests


def test_a_damaged_network(compile_in: Callable[[int], Compile], digests: Any) -> None:
    compiled = compile_in(0)
    assert compiled.cut_off("leave", 25, 0, "--grace", "0", *CHECKPOINT).status == LEFT
    whole = compiled.network.read_bytes()
    compiled.network.write_bytes(whole[: len(whole) // 2])
    refused = compiled.run()
    assert refused.status == 1, refused.story
    assert "network.hdf5 cannot be used to go on" in refused.output
    assert "--checkpoint-file FILE a copy of it is kept after each phase" in refused.output
    assert "Traceback" not in refused.output
    rest = compiled.run(*CHECKPOINT).ok()
    assert "It was replaced by" in rest.output
    assert compiled.digests() == digests


def test_a_changed_configuration(compile_in: Callable[[int], Compile]) -> None:
    compiled = compile_in(0)
    assert compiled.cut_off("leave", 10, 0, "--grace", "0").status == LEFT
    compiled.configure(after_connectivity={}, connectivity={}, after_placement={})
    rest = compiled.run().ok()
    assert "has changed; it is built anew" in rest.output
    cells = compiled.digests()
    assert {name.split()[1] for name in cells} == {"cells", "shape"}
    assert cells["soma cells"].startswith("60 ")
    compiled.configure()
    refused = compiled.run()
    assert "FileExistsError" in refused.output, "the network is finished, and not deleted unasked"
    assert compiled.network.exists()


@pytest.mark.long
def test_a_network_without_a_seed(compile_in: Callable[[int], Compile]) -> None:
    """BSB draws a seed; the run that goes on has the same one."""
    compiled = compile_in(0)
    compiled.configure(rng={})
    assert compiled.cut_off("leave", 10, 0, "--grace", "0").status == LEFT
    rest = compiled.run().ok()
    assert "built anew" not in rest.output


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--grace", "3"], "--grace needs --journal FILE"),
        (["--journal", "j", "--append"], "--append and --redo cannot be used with --journal"),
        (["--journal", "j", "--deadline", "soon"], "must be a number of seconds, slurm or pbs"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: list[str], text: str) -> None:
    ended = python("-m", "bsbpool", "bsb", "compile", "network.json", *options, cwd=tmp_path)
    assert ended.status == 2, ended.story
    assert text in ended.output
