"""Every example in a docstring does what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import bsbpool

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(bsbpool.__path__, "bsbpool.")
    if "._core.mpi_" not in found.name  # needs the MPI that it was built for
)


@pytest.mark.parametrize("name", MODULES)
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
