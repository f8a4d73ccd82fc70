"""A notebook runs as a single process, and calls may use functions of its cells."""

from __future__ import annotations

import re
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


SHOW = """
import nbformat
from nbclient import NotebookClient
cell = nbformat.v4.new_code_cell({cell!r})
NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=60, kernel_name="python3").execute()
report([str(out.get("text") or out["data"]["text/plain"]) for out in cell.outputs])
"""
BARS = """
from bsbpool import create_job_pool
from bsbpool.futures import PoolExecutor
with create_job_pool() as pool:
    jobs = pool.queue_many(lambda owner: None, [()] * 7, submitter="seven")
    pool.execute()
with PoolExecutor(progress=True) as executor:
    list(executor.map(abs, range(8)))
"""


def test_cells_show_bars() -> None:
    """As widgets, or as text without ipywidgets."""
    shown = "".join(evaluate(SHOW.format(cell=BARS), seconds=120))
    assert re.search(r"seven: +\d+%.*/7 ", shown)
    assert re.search(r"abs: +\d+%.*/8 ", shown)


def test_cells_may_ask_for_workers() -> None:
    """MPI spawns workers if it can; otherwise a thread runs the calls, with a warning."""
    ((workers, results),) = printed_by(
        "with PoolExecutor(max_workers=2) as executor:"
        " print((executor.num_workers, [*executor.map(add, range(3))]))",
    )
    assert results == [(n, workers == 1) for n in (10, 11, 12)]


CELLS_OF_ENGINES = [
    """
    import bsbpool.integrations.ipyparallel as ipp
    cluster = ipp.Cluster(n={n})
    rc = cluster.start_and_connect_sync()
    view = rc[:]
    view.block = True
    """,
    "view.push(dict(a=3)); print(view.apply(lambda x: a * x, 2))",
    "view.apply(lambda: 1 / 0)",
    "%px import sys",
    "%%px\nprint('out', a); print('err', file=sys.stderr)\na + 1",
    "%px 1 / 0",
    "shown = view.execute('print(a); a * 2', silent=False); shown.display_outputs()",
    """
    %%px
    from IPython.display import HTML, display
    display(HTML('<b>bold</b>'))
    """,
    "cluster.stop_cluster_sync()",
]

PLAY_WITH_ERRORS = """
import nbformat
from textwrap import dedent
from nbclient import NotebookClient
cells = {cells!r}
cells = [nbformat.v4.new_code_cell(dedent(cell).strip()) for cell in cells]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
report([[dict(output) for output in cell.outputs] for cell in notebook.cells])
"""


def shown_by(outputs: list[dict[str, Any]], kind: str) -> str:
    """Return what a cell has shown: a stream, "error", or the text of objects ("data")."""
    texts = []
    for output in outputs:
        if kind == "error" and output["output_type"] == "error":
            texts.append("\n".join(output["traceback"]))
        elif kind == "data" and "data" in output:
            texts.append(output["data"]["text/plain"] + "\n")
        elif output.get("name") == kind:
            texts.append(output["text"])
    return "".join(texts)


@pytest.mark.parametrize("n", [1, 3])
def test_a_cluster_of_engines(n: int) -> None:
    cells = [cell.replace("{n}", str(n)) for cell in CELLS_OF_ENGINES]
    outputs = evaluate(PLAY_WITH_ERRORS.format(cells=cells), seconds=120)
    engines = range(n)
    start, applied, failed, imported, code, px_failed, displayed, objects, stop = outputs
    assert start == imported == stop == [], outputs
    assert shown_by(applied, "stdout") == f"{[6] * n}\n"
    errors = shown_by(failed, "error")
    assert errors.count("ZeroDivisionError: division by zero") == n
    assert all(f"[{id}:apply]" in errors for id in engines)
    assert sorted(shown_by(code, "stdout").splitlines()) == [f"[stdout:{i}] out 3" for i in engines]
    assert sorted(shown_by(code, "stderr").splitlines()) == [f"[stderr:{i}] err" for i in engines]
    values = shown_by(code, "data").splitlines()
    assert len(values) == n and all(value.endswith("]: 4") for value in values)
    assert shown_by(px_failed, "stderr").count("ZeroDivisionError: division by zero") == n
    assert shown_by(px_failed, "error").strip() == ("1 error" if n == 1 else f"{n} errors")
    assert [f"[stdout:{i}] 3" for i in engines] == shown_by(displayed, "stdout").splitlines()
    assert len(shown_by(displayed, "data").splitlines()) == n
    assert [each["data"]["text/html"] for each in objects if "data" in each] == ["<b>bold</b>"] * n
