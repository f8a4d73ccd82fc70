"""A notebook runs as a single process, and calls may use functions of its cells."""

from __future__ import annotations

from typing import Any

import pytest

from .launch import evaluate

pytestmark = pytest.mark.interop

PLAY = """
import nbformat
from nbclient import NotebookClient
cells = {cells!r}
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
report([
    "".join(out["text"] for out in cell.outputs if out.get("name") == "stdout")
    for cell in notebook.cells
])
"""
DEFINE = """
import os
from bsbpool.futures import PoolExecutor
base, notebook = 10, os.getpid()
def add(n):
    return n + base, os.getpid() == notebook
"""


def printed_by(*cells: str) -> list[Any]:
    """Run the cells in a new kernel; return the output of each but the first."""
    printed = evaluate(PLAY.format(cells=[DEFINE, *cells]), seconds=120)
    return [eval(text) for text in printed[1:] if text]


def test_cells_run_calls() -> None:
    assert printed_by(
        "with PoolExecutor() as executor: print([*executor.map(add, range(3))])",
        "executor = PoolExecutor()",
        "base = 20",
        "print(executor.submit(add, 5).result())",
        "import asyncio",
        "print(await asyncio.wrap_future(executor.submit(add, 7)))",
        "executor.shutdown()",
        "with PoolExecutor() as executor: print(executor.submit(lambda: base).result())",
    ) == [[(10, True), (11, True), (12, True)], (25, True), (27, True), 20]


def test_cells_may_ask_for_workers() -> None:
    """MPI spawns workers if it can; otherwise a thread runs the calls, with a warning."""
    ((workers, results),) = printed_by(
        "with PoolExecutor(max_workers=2) as executor:"
        " print((executor.num_workers, [*executor.map(add, range(3))]))",
    )
    assert results == [(n, workers == 1) for n in (10, 11, 12)]
