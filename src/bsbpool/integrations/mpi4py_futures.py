"""The API of `mpi4py.futures` on bsbpool's executor.

::

    from bsbpool.integrations.mpi4py_futures import MPICommExecutor, MPIPoolExecutor

Programs that were started with ``python -m mpi4py.futures script.py`` are started with
``python -m bsbpool.run script.py`` instead; `MPICommExecutor` only needs mpiexec. With one process,
a thread runs the calls. See docs/migrating.md for the differences.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    TimeoutError,
    as_completed,
    wait,
)
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bsbpool._typing import LazyType
from bsbpool.futures import PoolExecutor
from bsbpool.futures.registry import worker_groups
from bsbpool.integrations._composed_futures import collect, compose
from bsbpool.process import running

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm
else:
    Intracomm = LazyType("mpi4py.MPI", "Intracomm")

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "MPICommExecutor",
    "MPIPoolExecutor",
    "TimeoutError",
    "as_completed",
    "collect",
    "compose",
    "get_comm_workers",
    "wait",
]

WORKER_OPTIONS = ("env", "globals", "path", "wdir")
"""Options of mpi4py that are applied on a worker before its first call."""
START_OPTIONS = ("backoff", "main", "mpi_info", "python_args", "python_exe", "use_pkl5")
"""Options of mpi4py about starting workers and sending messages; accepted without effect."""

_process_id = uuid.uuid4().bytes
"""Identifies this process among those of all ranks, also on other nodes."""
_workers_comm: Intracomm | None = None
"""The communicator of the workers, on each worker of an `MPICommExecutor`."""


class MPIPoolExecutor(PoolExecutor):
    """An executor with the API of `mpi4py.futures`, for a program that runs on rank 0 alone.

    Parameters
    ----------
    max_workers : int, optional
        The number of ranks that run calls; by default all but the first.
    initializer : callable, optional
        Called on each worker before its first call.
    initargs : iterable
        Its arguments.
    **kwargs
        ``path`` (folders for `sys.path`), ``wdir`` (the working directory), ``env`` (environment
        variables) and ``globals`` (names for `__main__`) are set on each worker that is another
        process. The options with which mpi4py starts workers are accepted and have no effect. All
        others are those of `PoolExecutor.options`.

    Examples
    --------
    >>> with MPIPoolExecutor() as executor:
    ...     print(list(executor.map(abs, [-2, 3])))
    [2, 3]
    """

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        self._open(None, 0, max_workers, initializer, initargs, kwargs)

    def _open(
        self,
        comm: Any,
        root: int,
        max_workers: int | None,
        initializer: Callable[..., object] | None,
        initargs: Iterable[Any],
        kwargs: dict[str, Any],
    ) -> None:
        settings = {name: kwargs[name] for name in WORKER_OPTIONS if kwargs.get(name)}
        if settings and (initializer is None or callable(initializer)):
            initializer = SettingsInitializer(settings, initializer)
        options = {
            name: value
            for name, value in kwargs.items()
            if name not in WORKER_OPTIONS + START_OPTIONS
        }
        PoolExecutor.__init__(
            self,
            comm,
            root,
            max_workers=None if max_workers is None else int(max_workers),
            initializer=initializer,
            initargs=tuple(initargs),
            **options,
        )

    def __enter__(self) -> MPIPoolExecutor:
        """Return the executor itself; other ranks, if any, must be serving already."""
        self.bootup()
        super().__enter__()
        return self


class SettingsInitializer:
    """An initializer that applies the settings of mpi4py's workers, then calls the user's.

    Parameters
    ----------
    settings : dict
        The options of `WORKER_OPTIONS`.
    initializer : callable or None
        The user's initializer.
    """

    def __init__(
        self, settings: Mapping[str, Any], initializer: Callable[..., object] | None
    ) -> None:
        self._settings = dict(settings)
        self._initializer = initializer
        self._made_by = _process_id

    def __call__(self, *initargs: Any) -> None:
        """Apply the settings, except in the program's own process."""
        if self._made_by != _process_id:
            sys.path.extend(self._settings.get("path", ()))
            os.environ.update(self._settings.get("env", {}))
            vars(sys.modules["__main__"]).update(self._settings.get("globals", {}))
            if "wdir" in self._settings:
                os.chdir(self._settings["wdir"])
        if self._initializer is not None:
            self._initializer(*initargs)


class _CommExecutor(MPIPoolExecutor):
    """The executor of an `MPICommExecutor`."""

    def __init__(self, comm: Any, root: int, **kwargs: Any) -> None:
        named = ("max_workers", "initializer", "initargs")
        first = kwargs.get("max_workers"), kwargs.get("initializer"), kwargs.get("initargs", ())
        # As in mpi4py, the options of workers do not apply to ranks that run the program.
        rest = {name: kwargs[name] for name in kwargs if name not in named + WORKER_OPTIONS}
        self._open(comm, root, *first, rest)

    __enter__ = PoolExecutor.__enter__  # type: ignore[assignment]

    @contextmanager
    def workers_comm(self) -> Iterator[None]:
        """Make `get_comm_workers` work on the workers during the block. Collective."""
        global _workers_comm
        comm = self._service.get_communicator()
        if not comm or running.in_job or worker_groups.main is not None:
            yield
            return
        from mpi4py import MPI

        if comm.Get_size() == 1:
            yield
            if self._get_backend().n_workers == 1:  # a thread of this process
                _workers_comm = MPI.COMM_SELF
            return
        is_worker = self._is_worker(comm)
        workers = comm.Split(0 if is_worker else MPI.UNDEFINED, comm.Get_rank())
        if not is_worker:
            yield
            return
        _workers_comm = workers
        try:
            yield
        finally:
            _workers_comm = None
            with suppress(MPI.Exception):  # if one of them failed
                workers.Free()

    def _is_worker(self, comm: Any) -> bool:
        """Whether this rank is one of the `max_workers` ranks that follow the root cyclically."""
        n_ranks: int = comm.Get_size()
        distance: int = (comm.Get_rank() - self.root) % n_ranks
        return 0 < distance <= (self._settings.max_workers or n_ranks)


class MPICommExecutor:
    """A context manager that gives an executor to one rank; the other ranks run its calls.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part; by default all.
    root : int
        The rank that submits.
    **kwargs
        Those of `MPIPoolExecutor`.

    Examples
    --------
    >>> with MPICommExecutor() as executor:
    ...     if executor is not None:
    ...         print(list(executor.map(abs, [-2, 3])))
    [2, 3]
    """

    def __init__(self, comm: Intracomm | None = None, root: int = 0, **kwargs: Any) -> None:
        self._executor = _CommExecutor(comm, root, **kwargs)  # checks the arguments
        if worker_groups.main is not None:  # the other ranks serve all executors of rank 0
            self._executor = _CommExecutor(None, 0, **kwargs)
        self._entered = False
        self._is_worker = False

    def __enter__(self) -> PoolExecutor | None:
        """Return the executor on the root; a worker runs calls here and then gets None."""
        if self._entered:
            raise RuntimeError("This executor is already entered; leave its `with` block first")
        self._entered = True
        try:
            with self._executor.workers_comm():
                executor: PoolExecutor | None = self._executor.__enter__()
        except BaseException:
            self._entered = False
            raise
        self._is_worker = executor is None
        return executor

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Shut down. On a worker, errors of the block are suppressed, as in mpi4py."""
        global _workers_comm
        self._entered = False
        try:
            self._executor.__exit__(kind, error, traceback)
        finally:
            _workers_comm = None
        return self._is_worker


def get_comm_workers() -> Intracomm:
    """Return the communicator of the workers of an `MPICommExecutor`; for use in calls.

    In workers that the program spawned, it is the communicator of all spawned workers of the
    executor.

    Raises
    ------
    RuntimeError
        When this process is not such a worker.
    """
    workers = worker_groups.siblings if _workers_comm is None else _workers_comm
    if workers is None:
        raise RuntimeError(
            "communicator is not accessible: this process does not run calls of an MPICommExecutor"
        )
    return workers
