"""The blocks of docs/ipyparallel.md run and print what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers.launch import mpirun

from .launch import evaluate

pytestmark = pytest.mark.interop

PAGE = Path(__file__).parents[2] / "docs" / "ipyparallel.md"
SECTIONS = dict(re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE.read_text(), re.M))
NOTEBOOK = "IPython and Jupyter"
START = "import bsbpool.integrations.ipyparallel as ipp\n\nrc = ipp.Client()\n"
STARTS = {"# mpiexec -n 4 python script.py\n": 4, "# python script.py\n": 1}
"""The first lines of blocks that are whole programs, and the ranks to start them on."""


def blocks(section: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTIONS[section], re.M | re.S)


def parts(section: str) -> list[str]:
    """Return the blocks that continue each other."""
    return [block for block in blocks(section) if not block.startswith(tuple(STARTS))]


PROGRAMS = {
    f"{section}-{ranks}": (block, ranks)
    for section in SECTIONS
    for block in blocks(section)
    for first, ranks in STARTS.items()
    if block.startswith(first)
}
WITH_PARTS = [section for section in SECTIONS if parts(section)]


def missing(program: str, output: str) -> list[str]:
    """Return the lines that the program should have printed, in this order, and has not."""
    lines = iter(output.splitlines())
    expected = re.findall(r"print\(.*\)  # (.+)$", program, re.M)
    assert expected
    return [line for line in expected if line not in lines]  # reads `lines` up to each of them


def test_there_are_programs() -> None:
    assert len(WITH_PARTS) > 8 and len(PROGRAMS) == 2


@pytest.mark.parametrize("section", WITH_PARTS)
def test_the_blocks_of_a_section(section: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("\n".join([START, *parts(section)]))
    ended = mpirun(4, "-m", "bsbpool.run", script, timeout=120, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert missing(script.read_text(), ended.stdout) == [], ended.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_whole_program(name: str, tmp_path: Path) -> None:
    program, ranks = PROGRAMS[name]
    script = tmp_path / "script.py"
    script.write_text(program)
    ended = mpirun(ranks, script, timeout=120, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"^\[32(, 32)+\]$", ended.stdout, re.M), ended.stdout


NOTEBOOK_PLAY = """
import nbformat
from nbclient import NotebookClient
cells = {cells!r}
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
report([[dict(output) for output in cell.outputs] for cell in notebook.cells])
"""


def test_the_cells_of_the_notebook() -> None:
    cells = blocks(NOTEBOOK, "ipython")
    outputs = evaluate(NOTEBOOK_PLAY.format(cells=cells), seconds=150)
    texts = ["".join(map(_text, each)) for each in outputs]
    shown = dict(zip(cells, texts, strict=True))
    (powers,) = (text for cell, text in shown.items() if "a ** 2" in cell)
    assert re.findall(r"Out\[(\d):\d+\]: (\d+)", powers) == [("0", "9"), ("1", "9")]
    (chosen,) = (text for cell, text in shown.items() if "--targets 0" in cell)
    assert "[stdout:0] a is 3" in chosen and re.search(r"Out\[0:\d+\]: 4", chosen)
    (later,) = (text for cell, text in shown.items() if cell.startswith("%pxresult"))
    assert sorted(later.split("\n")) == ["", "[stdout:0] done", "[stdout:1] done"]
    (areas,) = (text for cell, text in shown.items() if "area(2)" in cell)
    assert areas == "12 [12, 12]\n"


def _text(output: dict[str, object]) -> str:
    data = output.get("data")
    return str(output.get("text") or (data.get("text/plain") if isinstance(data, dict) else ""))
