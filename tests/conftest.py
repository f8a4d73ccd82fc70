"""The plugins of all tests, and the markers that follow from where a test is."""

import importlib.util
import signal
from pathlib import Path

import pytest

pytest_plugins = ["helpers.effort", "helpers.mpi_guard"]

TESTS = Path(__file__).parent
NEED_TESTING_BUILD = ("core", "fuzz", "sim")
"""Folders whose tests import `bsbpool._core.testing`, which the wheel does not contain."""
START_RANKS = ("chaos", "interop", "many", "soak")
"""Folders whose tests start ranks."""

# Shells start background commands with SIGINT ignored, and child processes inherit that: tests of
# Ctrl-C would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def is_testing_build() -> bool:
    """Whether the installed bsbpool has the modules that only tests import."""
    try:
        spec = importlib.util.find_spec("bsbpool._core.testing.tables")
    except ModuleNotFoundError:
        return False
    return spec is not None and Path(spec.origin or "").exists()


def pytest_report_header() -> str | None:
    if is_testing_build():
        return None
    folders = ", ".join(f"tests/{name}" for name in NEED_TESTING_BUILD)
    return f"bsbpool: built without BSBPOOL_TESTING, so these are not collected: {folders}"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    needs = collection_path in {TESTS / name for name in NEED_TESTING_BUILD}
    return True if needs and not is_testing_build() else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start ranks: those of some folders, and of modules that use `mpirun`."""
    folders = {TESTS / name for name in START_RANKS}
    for item in items:
        module = getattr(item, "module", None)
        if hasattr(module, "mpirun") or folders & set(item.path.parents):
            item.add_marker("launches")
