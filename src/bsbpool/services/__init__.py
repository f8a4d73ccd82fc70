"""Services that a workflow looks up by name: `MPI`, `MPILock`, `JobPool` and registered ones.

Importing this package starts nothing; each service is made on first access. A name that is not
registered gives an object whose attributes raise `DependencyError`.
"""

from __future__ import annotations

import importlib

from bsbpool._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.caching import pool_cache
    from bsbpool.exceptions import WorkflowError

    # The kinds of services are not fixed, since others can be registered.
    JobPool: Any
    MPI: Any
    MPILock: Any

__all__ = ["MPI", "JobPool", "MPILock", "WorkflowError", "pool_cache", "register_service"]

_MODULES = ("_pool_listeners", "_util", "channels", "launchers", "mpi", "mpilock", "node", "pool")


def register_service(attr: str, provider: Any) -> None:
    """Register an object as the service of a name, in place of an earlier one.

    Parameters
    ----------
    attr : str
        The name under which ``bsbpool.services`` provides the service.
    provider : object
        The service.

    Examples
    --------
    >>> from bsbpool import services
    >>> services.register_service("Clock", 12)
    >>> services.Clock
    12
    """
    globals()[attr] = provider


def _make(attr: str) -> Any:
    if attr == "MPI":
        from bsbpool.services.mpi import MPIService

        return MPIService()
    if attr == "MPILock":
        from bsbpool.services.mpilock import lock_module

        return lock_module()
    return getattr(importlib.import_module("bsbpool.services.pool"), attr)


def __getattr__(attr: str) -> Any:
    if attr.startswith("__"):
        raise AttributeError(attr)
    if attr in __all__:
        register_service(attr, _make(attr))
        return globals()[attr]
    if attr in _MODULES:
        return importlib.import_module(f"bsbpool.services.{attr}")
    from bsbpool.services._util import ErrorModule

    return ErrorModule(f"{attr} is not a registered service.")
