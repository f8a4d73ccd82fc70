"""The tests of executors of CPython and mpi4py, with PoolExecutor."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from .launch import SCRIPTS, python

SECONDS_TO_FETCH = 120


def fetched(command: list[str], folder: Path, pattern: str, what: str) -> Path:
    """Download a package; skip the test, with the reason, if that is impossible."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_FETCH,
            stdin=subprocess.DEVNULL,
        )
        story = done.stdout + done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        story = str(error)
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"{what} could not be fetched by `{' '.join(command)}`: {story[-500:]}")
    return found[0]


@pytest.fixture(scope="module")
def cpython_tests(tmp_path_factory) -> str:
    """Return the folder of CPython's tests, for PYTHONPATH; empty if Python brings them."""
    if importlib.util.find_spec("test.test_concurrent_futures") is not None:
        return ""
    if sys.version_info >= (3, 12) or not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("this Python came without its own tests, and there is no package of them")
    folder = tmp_path_factory.mktemp("cpython")
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}-testsuite"
    package = fetched(["apt-get", "download", name], folder, "*.deb", "CPython's tests")
    subprocess.run(["dpkg-deb", "-x", package, folder / "all"], check=True, timeout=60)
    (found,) = (folder / "all").rglob("test_concurrent_futures.py")
    alone = folder / "path"  # the folder of all tests would hide modules
    alone.mkdir()
    shutil.copy(found, alone)
    return str(alone)


@pytest.mark.limit(300)
@pytest.mark.parametrize("ranks", [pytest.param(0, marks=pytest.mark.long), 3])
def test_cpythons_own_tests(cpython_tests, ranks) -> None:
    path = os.pathsep.join(filter(None, [cpython_tests, os.environ.get("PYTHONPATH")]))
    script = SCRIPTS / "cpython_executor.py"
    program = ["-m", "bsbpool.run", script] if ranks else [script]
    ended = python(*program, ranks=ranks, PYTHONPATH=path).ok()
    assert "Ran 28 tests" in ended.output or sys.version_info[:2] != (3, 11), ended.story


@pytest.fixture(scope="module")
def mpi4py_tests(tmp_path_factory) -> Path:
    """Return mpi4py's test of executors."""
    folder = tmp_path_factory.mktemp("mpi4py")
    version = importlib.metadata.version("mpi4py")
    command = [sys.executable, "-m", "pip", "download", "--no-binary", "mpi4py", "--no-deps"]
    source = fetched([*command, f"mpi4py=={version}"], folder, "*.tar.gz", "mpi4py's source")
    with tarfile.open(source) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from 3.11.4 on
        archive.extractall(folder, **safely)
    (found,) = folder.glob("mpi4py-*/demo/futures/test_futures.py")
    return found


@pytest.mark.limit(300)
def test_mpi4pys_own_tests(mpi4py_tests) -> None:
    script = SCRIPTS / "mpi4py_executor.py"
    path = os.pathsep.join(filter(None, [str(mpi4py_tests.parent), os.environ.get("PYTHONPATH")]))
    ended = python("-m", "bsbpool.run", script, ranks=3, PYTHONPATH=path).ok()
    assert "OK" in ended.output, ended.story
