"""The programs of docs/integrations.md print what their comments say, in all ways to start them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.launch import mpirun

from .plays import WAYS

pytestmark = pytest.mark.interop

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
PROGRAMS = {
    heading: program
    for heading, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE.read_text(), re.M)
    for program in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    if "print(" in program
}


def test_there_are_programs() -> None:
    assert {"scinexus", "joblib"} <= set(PROGRAMS)


@pytest.mark.parametrize(("way", "ranks"), WAYS)
@pytest.mark.parametrize("heading", ["scinexus", "joblib"])
def test_a_program(heading: str, way: str, ranks: int, tmp_path: Path) -> None:
    program = PROGRAMS[heading]
    script = tmp_path / "program.py"
    script.write_text(program)
    through = ["-m", "bsbpool.run"] if way == "run" else []
    ended = mpirun(ranks, *through, script, timeout=120, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    said = re.findall(r"print\(.*\)  # (.+)$", program, re.M)
    assert said
    missing = [line for line in said if line not in ended.stdout.splitlines()]
    printed = re.findall(r"print\(.*\)(?:  # (.+))?$", program, re.M)
    assert not missing and len(said) == len(printed), ended.stdout
