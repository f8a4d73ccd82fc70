"""Runs the tests of the package ipyparallel with bsbpool's interface of the same names.

`make_folder` puts a package `ipyparallel` that stands in for the real one, and the files of the
real one's tests, into a folder, from which pytest runs on rank 0 while the other ranks are engines.
No file of the real package is in this repository.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

MODULES = (
    "test_asyncresult",
    "test_client",
    "test_dependency",
    "test_executor",
    "test_joblib",
    "test_lbview",
    "test_magics",
    "test_remotefunction",
    "test_view",
    "test_view_broadcast",
)
"""The modules with the tests; the others test programs and parts that only ipyparallel has."""


def make_folder(folder: Path) -> None:
    """Fill a new folder with the package that stands in, the plugin, and the tests."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(__file__).parent, folder, ignore=ignored)
    (folder / "__init__.py").unlink()
    tests = _find_tests() or _download_tests(folder / "downloaded")
    for module in MODULES:
        shutil.copy(tests / f"{module}.py", folder / "ipyparallel" / "tests")


def _find_tests() -> Path | None:
    """Return the folder of the tests of the installed package, without importing it."""
    spec = importlib.util.find_spec("ipyparallel")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "tests"


def _download_tests(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder)]
    subprocess.run([*command, "ipyparallel"], check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder / "ipyparallel" / "tests"
