"""bsb's own command runs on this pool: ``bsbpool bsb ...`` is ``bsb ...``."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Players
from .launch import Ended, evaluate, python

pytestmark = pytest.mark.interop

Command = Callable[..., Ended]

RUNS = [("json", 0), ("yaml", 0), ("json", 2), ("yaml", 3)]
"""Formats of the configuration, and ranks."""

WRITE = """
import json, sys, yaml
from pathlib import Path
import tissue
for name in ("json-0", "yaml-0", "json-2", "yaml-3"):
    tree = tissue.describe(Path(f"{name}.hdf5"))
    text = json.dumps(tree) if name.startswith("json") else yaml.safe_dump(tree)
    Path(f"{name}.{name[:4]}").write_text(text)
report(None)
"""

READ = """
from pathlib import Path
from bsb import from_storage
from fingerprints import fingerprints
report({path.stem: fingerprints(from_storage(str(path))) for path in Path().glob("*.hdf5")})
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the configurations."""
    folder = tmp_path_factory.mktemp("command")
    evaluate(WRITE, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def command(folder: Path) -> Command:
    """Return the command: the script in the folder of the interpreter, or the module."""
    script = Path(sys.executable).parent / "bsbpool"
    start = [script] if script.exists() else ["-m", "bsbpool"]
    return functools.partial(python, *start, cwd=folder)


@pytest.fixture(scope="module")
def compiled(command: Command) -> dict[str, Ended]:
    """Return the outcome of each run."""
    return {
        f"{kind}-{ranks}": command("bsb", "compile", f"{kind}-{ranks}.{kind}", ranks=ranks)
        for kind, ranks in RUNS
    }


@pytest.fixture(scope="module")
def digests(folder: Path, compiled: Any) -> dict[str, Any]:
    """Return the contents of the files, read by unmodified bsb."""
    return evaluate(READ, cwd=folder)


@pytest.mark.parametrize(("kind", "ranks"), RUNS)
def test_ends_well(compiled: dict[str, Ended], kind: str, ranks: int) -> None:
    output = compiled[f"{kind}-{ranks}"].ok().output
    line = r"^bsbpool: placement \(2 of 5\): 15/15 jobs succeeded in"
    assert re.search(line, output, re.MULTILINE)
    assert output.count("bsbpool: ") <= 15, "a few lines for each phase"


@pytest.mark.parametrize(("kind", "ranks"), RUNS)
def test_builds_what_the_library_builds(
    play: Players, digests: dict[str, Any], kind: str, ranks: int
) -> None:
    assert digests[f"{kind}-{ranks}"] == play("build", pool="bsb").main("own")["digests"]


@pytest.mark.usefixtures("compiled")
def test_options_are_bsbs(command: Command) -> None:
    options = "--clear --skip=moon,seed --skip-connectivity --skip-after-connectivity"
    more = "--verbosity=3 --debug_pool"
    ended = command("bsb", "compile", "json-0.json", *options.split(), *more.split()).ok()
    assert "placement (2 of 3): 9/9 jobs succeeded" in ended.output


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("ranks", [0, 2])
def test_an_error_is_that_of_bsb(command: Command, ranks: int) -> None:
    """The network exists, and no option says whether to replace it."""
    ended = command("bsb", "compile", "yaml-3.yaml", ranks=ranks)
    assert ended.status, ended.story
    assert "FileExistsError" in ended.output


def test_a_wrong_command(command: Command) -> None:
    ended = command("bsb", "brew")
    assert ended.status, ended.story
    assert "brew" in ended.output


def test_versions(command: Command) -> None:
    assert command("--version").ok().output.startswith("bsbpool ")
    assert "8." in command("bsb", "--version").ok().output


def test_the_command_without_bsb() -> None:
    """The message names the missing package."""
    code = "import sys; sys.modules['bsb'] = None; from bsbpool.cli import main; main(['bsb'])"
    ended = python("-c", code)
    assert ended.status
    assert "pip install" in ended.output
