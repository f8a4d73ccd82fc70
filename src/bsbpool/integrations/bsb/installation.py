"""Replaces the services of bsb-core by those of bsbpool.

The modules of bsb-core import the names of its services. So `install` must replace `bsb.services`
and the modules below it before any other module of bsb-core is imported.
"""

from __future__ import annotations

import copyreg
import importlib
import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bsbpool import exceptions
from bsbpool.process import running

MODULES = ("", ".mpi", ".mpilock", ".pool", "._util", "._pool_listeners")
"""The modules of `bsb.services`; those of `bsbpool.services` have the same names."""

ERRORS = (
    "DependencyError",
    "JobPoolError",
    "JobCancelledError",
    "JobPoolContextError",
    "JobSchedulingError",
)
"""The errors that bsb-core defines as well."""

_replaced: dict[str, Any] = {}
_previous_bases: list[tuple[type, tuple[type, ...]]] = []


def install() -> None:
    """Replace the services of bsb-core by those of bsbpool. A second call does nothing.

    Every rank must call it. If `dill` and `tblib` are installed, it also makes mpi4py send lambdas
    and errors with their tracebacks, as the pool of bsb-core does.

    Raises
    ------
    DependencyError
        When bsb-core 8 is not installed.
    RuntimeError
        When modules of bsb-core that use its services are already imported.
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
    _replace_errors()
    bsb.services = sys.modules["bsb.services"]
    bsb.__getattr__.cache_clear()
    running.before_execute.append(_apply_debug_option)
    running.job_contexts.append(_local_tracing)
    _extend_mpi4py_pickle()


def uninstall() -> None:
    """Restore the services of bsb-core, for modules of it that are imported from now on."""
    if not is_installed():
        return
    for name in MODULES:
        del sys.modules[f"bsb.services{name}"]
    bsb: Any = sys.modules["bsb"]
    bsb.__dict__.pop("services", None)
    bsb.__getattr__.cache_clear()
    running.before_execute.remove(_apply_debug_option)
    running.job_contexts.remove(_local_tracing)
    _restore_errors()
    if "pickle" in _replaced:
        pickle: Any = _replaced.pop("pickle")
        pickle.__init__()  # restores mpi4py's default functions
        for added in set(copyreg.dispatch_table) - _replaced.pop("reducers"):
            del copyreg.dispatch_table[added]  # the reducers of tblib


def is_installed() -> bool:
    """Whether the services of bsb-core are replaced."""
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


def _replace_errors() -> None:
    """Make bsbpool raise the errors of bsb-core, which become subclasses of those of bsbpool.

    ``except`` clauses check base classes only. So names that were imported from bsbpool before
    still catch the errors of the pool, and the names of bsb-core catch further subclasses of
    bsbpool's errors.
    """
    bsb_exceptions = importlib.import_module("bsb.exceptions")
    own_errors = {name: getattr(exceptions, name) for name in ERRORS}
    for name, own in own_errors.items():
        joined = getattr(bsb_exceptions, name)
        _replaced[name] = own
        further = [kind for kind in own.__subclasses__() if kind not in own_errors.values()]
        _set_bases(joined, (*joined.__bases__, own))
        for kind in further:
            _set_bases(kind, tuple(joined if base is own else base for base in kind.__bases__))
        _set_error(name, joined)


def _restore_errors() -> None:
    """Undo `_replace_errors`."""
    while _previous_bases:
        kind, bases = _previous_bases.pop()
        kind.__bases__ = bases
    for name in ERRORS:
        _set_error(name, _replaced.pop(name))


def _set_bases(kind: type, bases: tuple[type, ...]) -> None:
    _previous_bases.append((kind, kind.__bases__))
    kind.__bases__ = bases


def _set_error(name: str, kind: type) -> None:
    for module in (exceptions, sys.modules["bsbpool.services.pool"]):
        if hasattr(module, name):
            setattr(module, name, kind)


def _apply_debug_option() -> None:
    """Log the actions of the pool if the option `debug_pool` of bsb-core is set."""
    from bsb import options

    if options.debug_pool:
        logging.basicConfig()
        logging.getLogger("bsbpool").setLevel(logging.DEBUG)


def _local_tracing() -> AbstractContextManager[Any]:
    """Keep the spans of a job local to its rank, since sharing them is collective."""
    try:
        from bsb_otel.tracer import local_tracing
    except ImportError:
        return nullcontext()
    return local_tracing()  # type: ignore[no-any-return]


def _extend_mpi4py_pickle() -> None:
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
