"""`install` puts bsbpool in the place of bsb's services, and `uninstall` takes it back.

Each test is a program of its own, because what is imported stays imported.
"""

from __future__ import annotations

import json

import pytest

from .launch import python, told_by

pytestmark = pytest.mark.interop

INSTALL = """
from bsbpool.integrations import bsb as adapter
adapter.install()
"""

NAMES = {
    "services": "MPI MPILock JobPool register_service WorkflowError pool_cache",
    "services.mpi": "MPIService MPIModule",
    "services.mpilock": "MPILockModule MockedWindowController Fence FencedSignal _NoopLock"
    " _NoHandle",
    "services._util": "ErrorModule MockModule",
    "services._pool_listeners": "Listener NonTTYTerminalListener TTYTerminalListener JobTally"
    " PoolTally",
    "services.pool": "JobStatus PoolStatus PoolProgressReason WorkflowError JobErroredError"
    " Workflow PoolProgress PoolJobAddedProgress PoolJobUpdateProgress PoolStatusProgress"
    " SubmissionContext Job FunctionJob PlacementJob ConnectivityJob JobPool dispatcher"
    " get_node_cache_items free_stale_pool_cache pool_cache _cache_hash JobPoolError"
    " JobCancelledError JobPoolContextError JobSchedulingError _MPIPool _MPIPoolModule"
    " _MissingMPIExecutor",
}
"""Of the modules below `bsb`: what callers use of them."""

API = """
import importlib, inspect, json
MODULES = ["", ".mpi", ".mpilock", ".pool", "._util"]
def members(kind):
    return {
        name: list(inspect.signature(value).parameters) if inspect.isfunction(value) else None
        for name, value in inspect.getmembers(kind) if not name.startswith("_")
    }
def public(module):
    own = {name: value for name, value in vars(module).items() if not name.startswith("_")
           and getattr(value, "__module__", None) == module.__name__}
    return {name: members(value) if inspect.isclass(value) else None
            for name, value in own.items()}
"""


def test_importing_bsbpool_changes_nothing() -> None:
    assert told_by("""
import sys
from mpi4py import MPI
before = MPI.pickle.dumps
import bsbpool, bsbpool.integrations.bsb, bsbpool.services.pool
tell([name for name in sys.modules if name.partition(".")[0] in ("bsb", "dill", "mpipool")]
     + [MPI.pickle.dumps != before])
""") == [False]


@pytest.mark.parametrize("module", NAMES)
def test_the_names_that_callers_use(module: str) -> None:
    missing = told_by(f"""{INSTALL}
import importlib
module = importlib.import_module("bsb.{module}")
tell([name for name in {NAMES[module].split()} if name not in dir(module)
      and getattr(module, name, None).__class__.__name__ in ("ErrorModule", "NoneType")])
""")
    assert not missing


def test_all_that_bsb_has_is_there() -> None:
    """Its functions, and its classes with their methods and the names of their parameters."""
    theirs = told_by(f"""{API}
modules = {{name: importlib.import_module("bsb.services" + name) for name in MODULES}}
tell({{name: public(module) for name, module in modules.items()}})
""")
    assert "queue_placement" in theirs[".pool"]["JobPool"]
    missing = told_by(f"""{INSTALL}{API}
missing = []
for module, names in json.loads({json.dumps(theirs)!r}).items():
    found = importlib.import_module("bsb.services" + module)
    for name, expected in names.items():
        if not hasattr(found, name):
            missing.append(module + "." + name)
            continue
        have = members(getattr(found, name)) if expected else {{}}
        for member, parameters in (expected or {{}}).items():
            if member not in have or parameters and have[member] is not None and (
                have[member][:len(parameters)] != parameters
            ):
                missing.append([module + "." + name + "." + member, parameters, have.get(member)])
tell(missing)
""")
    assert not missing


def test_all_ways_to_import_lead_to_bsbpool() -> None:
    assert (
        told_by(f"""{INSTALL}
import bsb, bsbpool, bsbpool.services
from bsb.services.pool import JobPool, JobStatus
from bsb.services import MPI, MPILock, WorkflowError
from bsb.services.mpi import MPIService
from bsb import services
import bsb.services.pool as pool
import mpilock, bsb.core, bsb.placement.strategy
tell([
    bsb.JobPool is bsbpool.JobPool is JobPool is bsb.core.JobPool,
    bsb.services is services is bsbpool.services,
    pool is bsbpool.services.pool,
    JobStatus is bsbpool.JobStatus,
    isinstance(MPI, MPIService) and bsb.MPI is MPI,
    MPILock is mpilock,
    WorkflowError is bsbpool.WorkflowError,
    bsb.pool_cache is bsbpool.pool_cache is bsb.placement.strategy.pool_cache,
    issubclass(WorkflowError, ExceptionGroup),
])
""")
        == [True] * 9
    )


def test_installing_twice_is_installing_once() -> None:
    assert told_by(f"""{INSTALL}
from mpi4py import MPI
first = adapter.is_installed(), MPI.pickle.dumps
adapter.install()
second = adapter.is_installed(), MPI.pickle.dumps
from bsbpool.running import running
surroundings = len(running.surroundings)
adapter.uninstall()
once = adapter.is_installed(), len(running.surroundings)
adapter.uninstall()
tell([first[0], second[0], first[1] == second[1], surroundings, *once])
""") == [True, True, True, 1, False, 0]


@pytest.mark.parametrize(
    "early", ["import bsb.services", "from bsb import Scaffold", "from bsb import MPI"]
)
def test_too_late(early: str) -> None:
    """The error says what to do, and nothing has been changed."""
    message, undone = told_by(f"""
from mpi4py import MPI as mpi
{early}
dumps = mpi.pickle.dumps
from bsbpool.integrations import bsb as adapter
try:
    adapter.install()
except RuntimeError as error:
    message = str(error)
import bsb.services
tell([message, bsb.services.__name__ == "bsb.services" and mpi.pickle.dumps == dumps
      and not adapter.is_installed()])
""")
    assert "before bsbpool" in message
    assert "install()" in message
    assert undone


def test_not_too_late_after_importing_bsb_alone() -> None:
    """`import bsb` loads none of it."""
    assert told_by(f"import bsb\n{INSTALL}\ntell(bsb.JobPool.__module__)") == "bsbpool.pool"


def test_without_bsb() -> None:
    kind, message = told_by("""
import sys
sys.modules["bsb"] = None
from bsbpool import exceptions
from bsbpool.integrations import bsb as adapter
try:
    adapter.install()
except exceptions.DependencyError as error:
    tell([type(error).__name__, str(error)])
""")
    assert kind == "DependencyError"
    assert "pip install" in message


def test_another_version_of_bsb() -> None:
    message = told_by("""
import importlib.metadata as metadata
version = metadata.version
metadata.version = lambda name: "9.1.0" if name == "bsb-core" else version(name)
from bsbpool import exceptions
from bsbpool.integrations import bsb as adapter
try:
    adapter.install()
except exceptions.DependencyError as error:
    tell(str(error))
""")
    assert "9.1.0" in message


@pytest.mark.parametrize("used", ["", "from bsb import JobPool, MPI\nimport bsb.services.pool"])
def test_uninstalling_gives_bsb_its_own_back(used: str) -> None:
    assert told_by(f"""{INSTALL}
{used}
adapter.uninstall()
import bsb, bsb.services, bsb.services.pool, bsb.services.mpi, bsbpool
from bsb.services import JobPool
tell([JobPool.__module__, bsb.services.mpi.MPIService.__module__, bsb.services.__name__,
      bsb.JobPool.__module__, bsbpool.JobPool.__module__])
""") == [
        "bsb.services.pool",
        "bsb.services.mpi",
        "bsb.services",
        "bsb.services.pool",
        "bsbpool.pool",
    ]


def test_installing_again_after_uninstalling() -> None:
    assert told_by(f"""{INSTALL}
adapter.uninstall()
adapter.install()
import bsb
from bsb.services.pool import JobPoolError
import bsb.exceptions
tell([bsb.JobPool.__module__, issubclass(JobPoolError, bsb.exceptions.JobPoolError)])
""") == ["bsbpool.pool", True]


def test_errors_are_of_both_packages() -> None:
    """Whoever imported the classes, and whenever."""
    assert (
        told_by(f"""
from bsbpool import JobPoolError as Before, JobPoolContextError as ContextBefore
{INSTALL}
import pickle, bsb.exceptions as theirs, bsbpool
from bsb.services import JobPool, pool
def caught(call):
    try:
        call()
    except Exception as error:
        return error
outside = caught(JobPool(1, None).execute)
with JobPool(2, None) as opened:
    job = opened.queue(print)
    unavailable = caught(lambda: job.result)
    job.cancel("enough")
    opened.execute()
copy = pickle.loads(pickle.dumps(unavailable))
import bsb.services
missing = caught(lambda: bsb.services.Kitchen.sink)
tell([
    isinstance(outside, kind) for kind in (theirs.JobPoolContextError, theirs.JobPoolError,
        bsbpool.JobPoolContextError, bsbpool.JobPoolError, Before, ContextBefore,
        pool.JobPoolContextError, pool.JobPoolError)
] + [
    isinstance(unavailable, kind) for kind in (theirs.JobPoolError, bsbpool.JobPoolError, Before)
] + [
    isinstance(job.error, kind) for kind in (theirs.JobCancelledError, theirs.JobPoolError,
        bsbpool.JobCancelledError, pool.JobCancelledError)
] + [
    type(copy) is type(unavailable), str(copy) == str(unavailable),
    isinstance(missing, theirs.DependencyError),
    str(missing) == "Kitchen is not a registered service.",
])
""")
        == [True] * 19
    )


def test_a_registered_service_is_bsbs_too() -> None:
    assert told_by(f"""{INSTALL}
import bsb.services, bsbpool.services
unknown = type(bsb.services.Clock).__name__
returned = bsb.services.register_service("Clock", 12)
from bsb.services import Clock
bsb.services.register_service("MPILock", "mine")
tell([unknown, returned, Clock, bsbpool.services.Clock, bsb.services.MPILock])
""") == ["ErrorModule", None, 12, 12, "mine"]


def test_mpi4py_learns_to_send_lambdas_and_tracebacks() -> None:
    assert told_by("""
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
tell(seen + [travels(lambda: 3), said()])
""") == [False, False, True, True, True, False, False]


def test_all_is_well_without_dill() -> None:
    assert (
        told_by(f"""
import sys
sys.modules["dill"] = None
{INSTALL}
import bsb
adapter.uninstall()
tell(bsb.__name__)
""")
        == "bsb"
    )


def test_a_network_without_mpi4py() -> None:
    """One process, with stand-ins for the communicator and the lock."""
    assert told_by(
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
tell([cells, MPI.get_size(), MPILock._mocked, len(journal.entries)])
""",
        BSB_IGNORE_PARALLEL="",
    ) == [60, 1, True, 32]


def test_mpi_around_but_no_mpi4py() -> None:
    ended = python(
        "-c",
        f"import sys\nsys.modules['mpi4py'] = None\n{INSTALL}\nimport bsb\nbsb.MPI.get_size()",
        PMIX_RANK="0",
        SOME_MPI_RANK="1",
    )
    assert ended.status
    assert "DependencyError: MPI runtime detected without parallel support" in ended.output
    assert "BSB_IGNORE_PARALLEL" in ended.output
