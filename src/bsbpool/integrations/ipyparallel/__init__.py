"""The interface of ipyparallel on MPI ranks.

::

    import bsbpool.integrations.ipyparallel as ipp

    rc = ipp.Client()                 # mpiexec -n 4 python -m bsbpool.run script.py
    rc[:].apply_sync(os.getpid)

    with ipp.Cluster(n=3) as rc:      # in a program of one process, and in Jupyter
        rc.load_balanced_view().map_sync(f, range(100))

See docs/ipyparallel.md for what differs.
"""

from __future__ import annotations

from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from typing import Any

from bsbpool.integrations.ipyparallel import error
from bsbpool.integrations.ipyparallel._cluster import Cluster
from bsbpool.integrations.ipyparallel._executor import ViewExecutor
from bsbpool.integrations.ipyparallel._output import publish_data
from bsbpool.integrations.ipyparallel._pickling import Reference
from bsbpool.integrations.ipyparallel.async_result import AsyncHubResult, AsyncResult
from bsbpool.integrations.ipyparallel.balanced_view import LazyMapIterator, LoadBalancedView
from bsbpool.integrations.ipyparallel.client import Client
from bsbpool.integrations.ipyparallel.dependency import (
    Dependency,
    depend,
    dependent,
    interactive,
    require,
)
from bsbpool.integrations.ipyparallel.direct_view import BroadcastView, DirectView
from bsbpool.integrations.ipyparallel.error import (
    AlreadyDisplayedError,
    CompositeError,
    DependencyTimeout,
    EngineError,
    ImpossibleDependency,
    InvalidDependency,
    KernelError,
    NoEnginesRegistered,
    RemoteError,
    TaskAborted,
    TaskTimeout,
    TimeoutError,
    UnmetDependency,
)
from bsbpool.integrations.ipyparallel.map_result import AsyncMapResult
from bsbpool.integrations.ipyparallel.remote_function import (
    ParallelFunction,
    RemoteFunction,
    parallel,
    remote,
)

__all__ = [
    "ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "AlreadyDisplayedError",
    "AsyncHubResult", "AsyncMapResult", "AsyncResult", "BroadcastView", "Client", "Cluster",
    "CompositeError", "Dependency", "DependencyTimeout", "DirectView", "EngineError",
    "ImpossibleDependency", "InvalidDependency", "KernelError", "LazyMapIterator",
    "LoadBalancedView", "NoEnginesRegistered", "ParallelFunction", "Reference", "RemoteError",
    "RemoteFunction", "TaskAborted", "TaskTimeout", "TimeoutError", "UnmetDependency",
    "ViewExecutor", "depend", "dependent", "error", "interactive", "load_ipython_extension",
    "parallel", "publish_data", "register_joblib_backend", "remote", "require",
]  # fmt: skip


def register_joblib_backend(name: str = "ipyparallel", make_default: bool = False) -> None:
    """Register a backend of joblib that runs on the engines of the program."""
    from bsbpool.integrations.ipyparallel._joblib import register

    register(lambda: Client().load_balanced_view(), name, make_default)


def load_ipython_extension(shell: Any) -> None:
    """Load the magics, for ``%load_ext bsbpool.integrations.ipyparallel``."""
    from bsbpool.integrations.ipyparallel import _magics
    from bsbpool.integrations.ipyparallel.client import view_of_program

    _magics.load(shell, view_of_program)
