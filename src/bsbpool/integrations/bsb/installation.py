"""Makes an installed, unmodified bsb-core 8 run its jobs on this pool.

::

    from bsbpool.integrations import bsb as adapter
    adapter.install()          # before bsb is used
    from bsb import Scaffold

bsb binds the names of its services when its modules are imported. So `install`
puts bsbpool's modules in the place of `bsb.services` and the modules below it,
before anything of bsb has looked there.
"""

from __future__ import annotations

import copyreg
import importlib
import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bsbpool import exceptions
from bsbpool.running import running

MODULES = ("", ".mpi", ".mpilock", ".pool", "._util", "._pool_listeners")
"""Below `bsb.services`, and of the same names below `bsbpool.services`."""

ERRORS = (
    "DependencyError",
    "JobPoolError",
    "JobCancelledError",
    "JobPoolContextError",
    "JobSchedulingError",
)
"""Errors that bsb defines as well."""

_replaced: dict[str, Any] = {}
_former_bases: list[tuple[type, tuple[type, ...]]] = []


def install() -> None:
    """Put bsbpool in the place of bsb's services. Calling it again does nothing.

    Every rank must call it. It also lets mpi4py send lambdas and errors with
    their tracebacks, as bsb's own pool does, where `dill` and `tblib` are installed.

    Raises
    ------
    DependencyError
        When bsb-core 8 is not installed.
    RuntimeError
        When modules of bsb were imported before that already use its own services.
    """
    if is_installed():
        return
    try:
        import bsb
    except ImportError as error:
        raise exceptions.DependencyError(
            "bsb-core is not installed; get it with `pip install bsbpool[bsb]`"
        ) from error
    _check_version()
    _check_not_too_late()
    for name in MODULES:
        sys.modules[f"bsb.services{name}"] = importlib.import_module(f"bsbpool.services{name}")
    _join_errors()
    bsb.services = sys.modules["bsb.services"]
    bsb.__getattr__.cache_clear()
    running.before_execute.append(_obey_debug_pool)
    running.job_contexts.append(_local_tracing)
    _teach_mpi4py()


def uninstall() -> None:
    """Give bsb its own services back, for the modules of bsb that are imported from now on."""
    if not is_installed():
        return
    for name in MODULES:
        del sys.modules[f"bsb.services{name}"]
    bsb: Any = sys.modules["bsb"]
    bsb.__dict__.pop("services", None)
    bsb.__getattr__.cache_clear()
    running.before_execute.remove(_obey_debug_pool)
    running.job_contexts.remove(_local_tracing)
    _part_errors()
    if "pickle" in _replaced:
        pickle: Any = _replaced.pop("pickle")
        pickle.__init__()  # mpi4py's own functions again
        for taught in set(copyreg.dispatch_table) - _replaced.pop("reducers"):
            del copyreg.dispatch_table[taught]  # what tblib taught pickle


def is_installed() -> bool:
    """Whether bsb's services are bsbpool's."""
    return sys.modules.get("bsb.services") is importlib.import_module("bsbpool.services")


def _check_version() -> None:
    from importlib.metadata import version

    found = version("bsb-core")
    if found.split(".")[0] != "8":
        raise exceptions.DependencyError(
            f"bsbpool replaces the services of bsb-core 8; bsb-core {found} is installed"
        )


def _check_not_too_late() -> None:
    early = sorted(name for name in sys.modules if name.startswith("bsb.services"))
    if early:
        raise RuntimeError(
            "bsb was imported before bsbpool could take its place (found: "
            f"{', '.join(early)}). Call bsbpool.integrations.bsb.install() at the top of the "
            "program, before anything is imported from bsb, or start it with `bsbpool bsb ...`."
        )


def _join_errors() -> None:
    """Let bsbpool raise bsb's own classes, which become subclasses of bsbpool's.

    ``except`` clauses look at base classes only. So names that were imported from bsbpool before
    go on catching what the pool raises, and bsb's names catch other subclasses of bsbpool's errors.
    """
    theirs = importlib.import_module("bsb.exceptions")
    own_errors = {name: getattr(exceptions, name) for name in ERRORS}
    for name, own in own_errors.items():
        joined = getattr(theirs, name)
        _replaced[name] = own
        further = [kind for kind in own.__subclasses__() if kind not in own_errors.values()]
        _set_bases(joined, (*joined.__bases__, own))
        for kind in further:
            _set_bases(kind, tuple(joined if base is own else base for base in kind.__bases__))
        _set_error(name, joined)


def _part_errors() -> None:
    """Undo `_join_errors`."""
    while _former_bases:
        kind, bases = _former_bases.pop()
        kind.__bases__ = bases
    for name in ERRORS:
        _set_error(name, _replaced.pop(name))


def _set_bases(kind: type, bases: tuple[type, ...]) -> None:
    _former_bases.append((kind, kind.__bases__))
    kind.__bases__ = bases


def _set_error(name: str, kind: type) -> None:
    for module in (exceptions, sys.modules["bsbpool.services.pool"]):
        if hasattr(module, name):
            setattr(module, name, kind)


def _obey_debug_pool() -> None:
    """Log what the pool does when bsb's option of that name is on."""
    from bsb import options

    if options.debug_pool:
        logging.basicConfig()
        logging.getLogger("bsbpool").setLevel(logging.DEBUG)


def _local_tracing() -> AbstractContextManager[Any]:
    """Keep the spans of a job on its rank: sharing them is collective in bsb's tracer."""
    try:
        from bsb_otel.tracer import local_tracing
    except ImportError:
        return nullcontext()
    return local_tracing()  # type: ignore[no-any-return]


def _teach_mpi4py() -> None:
    try:
        from mpi4py import MPI
    except ImportError:
        return
    try:
        import dill
        import tblib.pickling_support
    except ImportError:
        return
    pickle: Any = MPI.pickle
    _replaced["pickle"] = pickle
    _replaced["reducers"] = set(copyreg.dispatch_table)
    pickle.__init__(dill.dumps, dill.loads)
    tblib.pickling_support.install()
