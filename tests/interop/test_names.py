"""After `install`, all names of bsb's services are those of bsbpool."""

from __future__ import annotations

import json

import pytest

from .launch import INSTALL, evaluate

pytestmark = pytest.mark.interop

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
"""The names of modules of `bsb` that callers use."""

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


@pytest.mark.parametrize("module", NAMES)
def test_the_names_that_callers_use(module: str) -> None:
    missing = evaluate(f"""{INSTALL}
import importlib
module = importlib.import_module("bsb.{module}")
report([name for name in {NAMES[module].split()} if name not in dir(module)
      and getattr(module, name, None).__class__.__name__ in ("ErrorModule", "NoneType")])
""")
    assert not missing


def test_all_that_bsb_has_is_there() -> None:
    """Its functions, and its classes with their methods and the names of their parameters."""
    theirs = evaluate(f"""{API}
modules = {{name: importlib.import_module("bsb.services" + name) for name in MODULES}}
report({{name: public(module) for name, module in modules.items()}})
""")
    assert "queue_placement" in theirs[".pool"]["JobPool"]
    missing = evaluate(f"""{INSTALL}{API}
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
report(missing)
""")
    assert not missing


def test_all_ways_to_import_lead_to_bsbpool() -> None:
    reported = evaluate(f"""{INSTALL}
import bsb, bsbpool, bsbpool.services
from bsb.services.pool import JobPool, JobStatus
from bsb.services import MPI, MPILock, WorkflowError
from bsb.services.mpi import MPIService
from bsb import services
import bsb.services.pool as pool
import bsb.core, bsb.placement.strategy as strategy
report({{
    "pool": bsb.JobPool is JobPool is bsb.core.JobPool and issubclass(JobPool, bsbpool.JobPool),
    "package": bsb.services is services is bsbpool.services,
    "module": pool is bsbpool.services.pool,
    "status": JobStatus is bsbpool.JobStatus,
    "MPI": isinstance(MPI, MPIService) and bsb.MPI is MPI,
    "MPILock": MPILock is bsbpool.services.MPILock and hasattr(MPILock, "WindowController"),
    "error": WorkflowError is bsbpool.WorkflowError and issubclass(WorkflowError, ExceptionGroup),
    "cache": bsb.pool_cache is bsbpool.pool_cache is strategy.pool_cache,
}})
""")
    assert all(reported.values()), reported


def test_a_registered_service_is_bsbs_too() -> None:
    assert evaluate(f"""{INSTALL}
import bsb.services, bsbpool.services
unknown = type(bsb.services.Clock).__name__
returned = bsb.services.register_service("Clock", 12)
from bsb.services import Clock
bsb.services.register_service("MPILock", "mine")
report([unknown, returned, Clock, bsbpool.services.Clock, bsb.services.MPILock])
""") == ["ErrorModule", None, 12, 12, "mine"]


def test_errors_are_of_both_packages() -> None:
    """Independent of who imported the classes, and when."""
    reported = evaluate(f"""
from bsbpool import JobPoolError as Before, JobPoolContextError as ContextBefore
{INSTALL}
import pickle, bsb.exceptions as theirs, bsb.services, bsbpool
from bsb.services import JobPool, pool
def caught(call):
    try:
        call()
    except Exception as error:
        return error
def kinds_of(error, names, *more):
    homes = (theirs, bsbpool, pool)
    kinds = [getattr(home, name) for name in names for home in homes]
    return [str(kind) for kind in (*kinds, *more) if not isinstance(error, kind)]
outside = caught(JobPool(1, None).execute)
with JobPool(2, None) as opened:
    job = opened.queue(print)
    unavailable = caught(lambda: job.result)
    job.cancel("enough")
    opened.execute()
copy = pickle.loads(pickle.dumps(unavailable))
missing = caught(lambda: bsb.services.Kitchen.sink)
report({{
    "is not": kinds_of(outside, ("JobPoolContextError", "JobPoolError"), Before, ContextBefore)
        + kinds_of(unavailable, ("JobPoolError",), Before)
        + kinds_of(copy, ("JobPoolError",), Before)
        + kinds_of(job.error, ("JobCancelledError", "JobPoolError"), Before)
        + kinds_of(bsbpool.exceptions.WorkerLostError("gone"), ("JobPoolError",), Before)
        + kinds_of(bsbpool.exceptions.JobPoolTimeoutError("late"), ("JobPoolError",), TimeoutError)
        + [str(kind) for kind in (theirs.DependencyError,) if not isinstance(missing, kind)],
    "copied": str(copy) == str(unavailable),
    "missing": str(missing),
}})
""")
    assert reported == {
        "is not": [],
        "copied": True,
        "missing": "Kitchen is not a registered service.",
    }
