"""The examples in docstrings have the shown output, and the programs in the docs run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import bsbpool
import bsbpool._core
from helpers.launch import mpirun
from helpers.typed_examples import programs

PAGES = [
    "README.md", "docs/clusters.md", "docs/data.md", "docs/futures.md", "docs/logging.md",
    "docs/migrating.md", "docs/options.md", "docs/progress.md", "docs/scaling.md", "docs/traces.md",
]  # fmt: skip
PROGRAMS = {
    f"{page}:{number}": program
    for page in PAGES
    for number, program in enumerate(programs(page))
    if "print(" in program
}

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(bsbpool.__path__, "bsbpool.")
    if "._core." not in found.name  # shared libraries
)
COMPILED = [
    f"bsbpool._core.{package}.{name}"
    for package, names in bsbpool._core.MODULES.items()
    if package != "testing"
    for name in names
]


@pytest.mark.parametrize("name", MODULES + COMPILED)
def test_examples_of(name):
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


@pytest.mark.parametrize(
    "name",
    ["create_job_pool", "JobPool", "Workflow", "pool_cache", "pool_cached_function"],
)
def test_there_are_examples_of(name):
    found = doctest.DocTestFinder(recurse=False).find(getattr(bsbpool, name), name)
    assert any(test.examples for test in found)


@pytest.mark.parametrize("where", PROGRAMS)
def test_program_of(where, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAMS[where])
    alone = mpirun(1, script, cwd=tmp_path)
    assert alone.returncode == 0 and alone.stdout, alone.stdout
    on_all = "create_job_pool" in script.read_text()
    ranks = mpirun(3, *([] if on_all else ["-m", "bsbpool.run"]), script, cwd=tmp_path)
    assert ranks.returncode == 0, ranks.stdout
    assert alone.stdout.splitlines()[-1] in ranks.stdout


STARTS = {"alone": (1,), "on-ranks": (3,), "under-the-runner": (3, "-m", "bsbpool.run")}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(program, marks=pytest.mark.interop if "from bsb " in program else ())
        for program in programs()
    ],
    ids=lambda program: program.split("(")[0].split()[-1],
)
def test_23_every_program_of_the_readme_runs_however_it_is_started(program, start, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(program)
    done = mpirun(*start, script, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    if "print(" in program:
        # The sum of n * (n + 1) below 10. Ranks print concurrently, so it may share a line.
        assert "330" in done.stdout
