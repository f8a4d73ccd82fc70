"""The interface of ipyparallel, on workers of the program, of a cluster and in a thread."""

from __future__ import annotations

import re
import shutil

import pytest

from .launch import SCRIPTS, python

pytestmark = pytest.mark.interop
SCRIPT = SCRIPTS / "engines.py"
NAMES = re.findall(r"^@check\ndef (\w+)", SCRIPT.read_text(), re.MULTILINE)


def check(output: str) -> None:
    passed = re.findall(r"^passed (\w+)$", output, re.MULTILINE)
    assert passed == NAMES, output


@pytest.mark.parametrize("ranks", [2, 4])
def test_workers_of_the_program(ranks: int) -> None:
    check(python("-m", "bsbpool.run", SCRIPT, ranks=ranks).ok().output)


def test_all_ranks_enter_a_cluster() -> None:
    output = python(SCRIPT, "cluster", "0", ranks=3).ok().output
    check(output)
    assert "stopped well" in output


@pytest.mark.skipif(shutil.which("mpiexec") is None, reason="MPI spawns with mpiexec")
def test_a_cluster_is_spawned() -> None:
    output = python(SCRIPT, "cluster", "3").ok().output
    check(output)
    assert "stopped well" in output


def test_one_engine_is_a_thread() -> None:
    passed = python(SCRIPT, "cluster", "1").ok().output
    assert "passed errors_have_the_original_as_cause" in passed
    failed = re.findall(r"^failed (\w+)$", passed, re.MULTILINE)
    assert failed == [], passed
    assert "stopped well" in passed
