"""The examples in docstrings have the shown output, and the programs in the docs run."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import time
from pathlib import Path

import pytest

import bsbpool
import bsbpool._core
from helpers.launch import mpirun
from helpers.typed_examples import programs

RUN_ELSEWHERE = {
    "docs/integrations.md": "tests/interop/test_integrations_page.py",
    "docs/ipyparallel.md": "tests/interop/test_ipyparallel_page.py",
}
"""Pages whose programs are for particular ways to start them, and the tests that run them."""

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in ["README.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
    if page not in RUN_ELSEWHERE
]
PROGRAMS = {
    f"{page}:{number}": program
    for page in PAGES
    for number, program in enumerate(programs(page))
}


def program_parameters(named):
    """Return a parameter of pytest for each program; those that use BSB are marked."""
    return [
        pytest.param(text, id=name, marks=pytest.mark.interop if "bsb import " in text else ())
        for name, text in named
    ]

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


@pytest.mark.limit(120)
@pytest.mark.parametrize("program", program_parameters(PROGRAMS.items()))
def test_program_of(program, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(program)
    alone = mpirun(1, script, cwd=tmp_path)
    assert alone.returncode == 0, alone.stdout
    on_all = "create_job_pool" in program
    ranks = mpirun(3, *([] if on_all else ["-m", "bsbpool.run"]), script, cwd=tmp_path)
    assert ranks.returncode == 0, ranks.stdout
    if "print(" in program:
        assert alone.stdout.splitlines()[-1] in ranks.stdout


@pytest.mark.limit(120)
def test_the_study_of_the_tutorial_goes_on_where_its_time_was_over(tmp_path):
    (study,) = (text for text in programs("docs/tutorial.md") if "SLURM_JOB_END_TIME" in text)
    script = tmp_path / "study.py"
    script.write_text(study)
    no_time = {"SLURM_JOB_END_TIME": str(int(time.time()))}
    begun = mpirun(3, script, cwd=tmp_path, env=no_time)
    assert begun.returncode == 0, begun.stdout
    assert "12 of 12 are missing; run it again" in begun.stdout
    ended = mpirun(3, script, cwd=tmp_path)
    assert ended.returncode == 0 and "spikes/s" in ended.stdout, ended.stdout
    rates = json.loads((tmp_path / "rates.json").read_text())
    del rates["(10.0, 0.75)"]
    (tmp_path / "rates.json").write_text(json.dumps({**rates, "(5.0, 0.5)": 40.0}))
    again = mpirun(3, script, cwd=tmp_path)
    assert "(5.0, 0.5): 40.0 spikes/s" in again.stdout, again.stdout
    assert len(json.loads((tmp_path / "rates.json").read_text())) == 12


def test_there_are_programs_on_the_pages():
    having = {name.partition(":")[0] for name in PROGRAMS}
    assert having >= {"README.md", "docs/start.md", "docs/tutorial.md", "docs/guide.md"}
    assert all((ROOT / test).exists() for test in RUN_ELSEWHERE.values())


def test_blocks_of_python_are_named_python():
    """Other names of the language would keep a block from being run."""
    for page in [*PAGES, *RUN_ELSEWHERE]:
        names = re.findall(r"^```(\w*)$", (ROOT / page).read_text(), re.M)
        assert not {"py", "python3", "pycon"} & set(names), page


STARTS = {"alone": (1,), "on-ranks": (3,), "under-the-runner": (3, "-m", "bsbpool.run")}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize(
    "program",
    program_parameters((text.split("(")[0].split()[-1], text) for text in programs()),
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
