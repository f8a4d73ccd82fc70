"""`install` replaces bsb's services by bsbpool, and `uninstall` restores them.

Each test is a program of its own, because what is imported stays imported.
"""

from __future__ import annotations

import pytest

from .launch import INSTALL, evaluate, python

pytestmark = pytest.mark.interop


def test_importing_bsbpool_changes_nothing() -> None:
    assert evaluate("""
import sys
from mpi4py import MPI
before = MPI.pickle.dumps
import bsbpool, bsbpool.integrations.bsb, bsbpool.services.pool
report([name for name in sys.modules if name.partition(".")[0] in ("bsb", "dill", "mpipool")]
     + [MPI.pickle.dumps != before])
""") == [False]


def test_installing_twice_is_installing_once() -> None:
    assert evaluate(f"""{INSTALL}
from mpi4py import MPI
first = adapter.is_installed(), MPI.pickle.dumps
adapter.install()
second = adapter.is_installed(), MPI.pickle.dumps
adapter.uninstall()
once = adapter.is_installed()
adapter.uninstall()
report([first[0], second[0], first[1] == second[1], once])
""") == [True, True, True, False]


@pytest.mark.parametrize(
    "early", ["import bsb.services", "from bsb import Scaffold", "from bsb import MPI"]
)
def test_too_late(early: str) -> None:
    """The error names the remedy, and nothing is changed."""
    message, undone = evaluate(f"""
from mpi4py import MPI as mpi
{early}
dumps = mpi.pickle.dumps
from bsbpool.integrations import bsb as adapter
try:
    adapter.install()
except RuntimeError as error:
    message = str(error)
import bsb.services
report([message, bsb.services.__name__ == "bsb.services" and mpi.pickle.dumps == dumps
      and not adapter.is_installed()])
""")
    assert "before bsbpool" in message
    assert "install()" in message
    assert undone


def test_not_too_late_after_importing_bsb_alone() -> None:
    """`import bsb` loads none of it."""
    assert evaluate(f"import bsb\n{INSTALL}\nreport(bsb.JobPool.__name__)") == "BsbJobPool"


def test_without_bsb() -> None:
    kind, message = evaluate("""
import sys
sys.modules["bsb"] = None
from bsbpool import exceptions
from bsbpool.integrations import bsb as adapter
try:
    adapter.install()
except exceptions.DependencyError as error:
    report([type(error).__name__, str(error)])
""")
    assert kind == "DependencyError"
    assert "pip install" in message


def test_another_version_of_bsb() -> None:
    message = evaluate("""
import importlib.metadata as metadata
version = metadata.version
metadata.version = lambda name: "9.1.0" if name == "bsb-core" else version(name)
from bsbpool import exceptions
from bsbpool.integrations import bsb as adapter
try:
    adapter.install()
except exceptions.DependencyError as error:
    report(str(error))
""")
    assert "9.1.0" in message


@pytest.mark.parametrize("used", ["", "from bsb import JobPool, MPI\nimport bsb.services.pool"])
def test_uninstalling_gives_bsb_its_own_back(used: str) -> None:
    assert evaluate(f"""{INSTALL}
{used}
adapter.uninstall()
import bsb, bsb.services, bsb.services.pool, bsb.services.mpi, bsbpool
from bsb.services import JobPool
report([JobPool.__module__, bsb.services.mpi.MPIService.__module__, bsb.services.__name__,
      bsb.JobPool.__module__, bsbpool.JobPool.__module__])
""") == [
        "bsb.services.pool",
        "bsb.services.mpi",
        "bsb.services",
        "bsb.services.pool",
        "bsbpool.pool",
    ]


def test_installing_again_after_uninstalling() -> None:
    assert evaluate(f"""{INSTALL}
adapter.uninstall()
adapter.install()
import bsb
from bsb.services.pool import JobPoolError
import bsb.exceptions
report([bsb.JobPool.__module__, issubclass(JobPoolError, bsb.exceptions.JobPoolError)])
""") == ["bsbpool.integrations.bsb.pool", True]


def test_mpi4py_learns_to_send_lambdas_and_tracebacks() -> None:
    assert evaluate("""
from mpi4py import MPI
from bsbpool.integrations import bsb as adapter

def travels(thing):
    try:
        MPI.pickle.loads(MPI.pickle.dumps(thing))
        return True
    except Exception:
        return False

def failed():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return error

def said():
    there = MPI.pickle.loads(MPI.pickle.dumps(failed()))
    return there.__traceback__ is not None

seen = [travels(lambda: 3), said()]
adapter.install()
seen += [travels(lambda: 3), said(), MPI.COMM_SELF.bcast(lambda: 3)() == 3]
adapter.uninstall()
report(seen + [travels(lambda: 3), said()])
""") == [False, False, True, True, True, False, False]


def test_all_is_well_without_dill() -> None:
    assert (
        evaluate(f"""
import sys
sys.modules["dill"] = None
{INSTALL}
import bsb
adapter.uninstall()
report(bsb.__name__)
""")
        == "bsb"
    )


def test_a_network_without_mpi4py() -> None:
    """One process, with stubs for the communicator and the lock."""
    assert evaluate(
        f"""
import sys
sys.modules["mpi4py"] = sys.modules["mpilock"] = sys.modules["mpipool"] = None
{INSTALL}
import os, tempfile
from pathlib import Path
from bsb import MPI, MPILock, Scaffold
import journal, tissue
with tempfile.TemporaryDirectory() as folder:
    scaffold = Scaffold(tissue.configuration(Path(folder) / "tissue.hdf5"))
    scaffold.register_listener(lambda event: None)
    scaffold.compile()
    cells = len(scaffold.get_placement_set("soma"))
report([cells, MPI.get_size(), MPILock._mocked, len(journal.entries)])
""",
        BSB_IGNORE_PARALLEL="",
    ) == [60, 1, True, 32]


def test_mpi_around_but_no_mpi4py() -> None:
    ended = python(
        "-c",
        f"import sys\nsys.modules['mpi4py'] = None\n{INSTALL}\nimport bsb\nbsb.MPI.get_size()",
        PMIX_RANK="0",
    )
    assert ended.status
    assert "DependencyError: MPI runtime detected without parallel support" in ended.output
    assert "BSB_IGNORE_PARALLEL" in ended.output
