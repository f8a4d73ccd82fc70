"""The names of `mpi4py.futures`, on the ranks of this pool.

::

    from bsbpool.integrations.mpi4py_futures import MPICommExecutor, MPIPoolExecutor

What is started with ``python -m mpi4py.futures script.py`` is started with
``python -m bsbpool.run script.py`` instead; `MPICommExecutor` needs nothing but mpiexec. A program
of one process has a thread for a worker. See docs/migrating.md for what differs.
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
from typing import Any

from bsbpool.futures import PoolExecutor
from bsbpool.futures.dispatcher_thread import waiting
from bsbpool.integrations._composing import collect, compose
from bsbpool.running import running

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

OF_WORKERS = ("env", "globals", "path", "wdir")
"""Options of mpi4py that a worker obeys before its first call."""
OF_STARTING = ("backoff", "main", "mpi_info", "python_args", "python_exe", "use_pkl5")
"""Options of mpi4py about how workers are started and spoken to: mpiexec did that, and we do."""

_process = uuid.uuid4().bytes
"""Tells this process from those on other ranks, whatever their nodes."""
_workers: Any = None
"""The communicator of those that work, on each of them."""


class MPIPoolExecutor(PoolExecutor):
    """An executor as of `mpi4py.futures`, for a program that runs on rank 0 alone.

    Parameters
    ----------
    max_workers : int, optional
        How many ranks run calls; by default all but the first.
    initializer : callable, optional
        Called on each worker before its first call.
    initargs : iterable
        Its arguments.
    **kwargs
        ``path`` (folders for `sys.path`), ``wdir`` (a folder to work in), ``env`` (environment
        variables) and ``globals`` (names for `__main__`) are set on each worker that is another
        process. What mpi4py takes to start workers is accepted and has no effect. The rest is as
        of `PoolExecutor.options`.

    Examples
    --------
    >>> with MPIPoolExecutor() as executor:
    ...     print(list(executor.map(abs, [-2, 3])))
    [2, 3]
    """

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        self._prepare(None, 0, max_workers, initializer, initargs, kwargs)

    def _prepare(
        self,
        comm: Any,
        root: int,
        max_workers: int | None,
        initializer: Callable[..., Any] | None,
        initargs: Iterable[Any],
        kwargs: dict[str, Any],
    ) -> None:
        settings = {name: kwargs[name] for name in OF_WORKERS if kwargs.get(name)}
        if settings and (initializer is None or callable(initializer)):
            initializer = Settings(settings, initializer)
        options = {
            name: value for name, value in kwargs.items() if name not in OF_WORKERS + OF_STARTING
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
        """Return the executor itself; other ranks, if any, must be waiting already."""
        self.bootup()
        super().__enter__()
        return self


class Settings:
    """An initializer that sets what a worker was to be started with.

    Parameters
    ----------
    given : dict
        The options of `OF_WORKERS`.
    then : callable or None
        The user's initializer.
    """

    def __init__(self, given: Mapping[str, Any], then: Callable[..., Any] | None) -> None:
        self.given = dict(given)
        self.then = then
        self.maker = _process

    def __call__(self, *initargs: Any) -> None:
        """Set them, unless this is the program's own process."""
        if self.maker != _process:
            sys.path.extend(self.given.get("path", ()))
            os.environ.update(self.given.get("env", {}))
            vars(sys.modules["__main__"]).update(self.given.get("globals", {}))
            if "wdir" in self.given:
                os.chdir(self.given["wdir"])
        if self.then is not None:
            self.then(*initargs)


class _CommExecutor(MPIPoolExecutor):
    """What `MPICommExecutor` gives at its root."""

    def __init__(self, comm: Any, root: int, **kwargs: Any) -> None:
        known = ("max_workers", "initializer", "initargs")
        first = kwargs.get("max_workers"), kwargs.get("initializer"), kwargs.get("initargs", ())
        # What mpi4py takes from workers that it starts, it does not take from ranks that are there.
        rest = {name: kwargs[name] for name in kwargs if name not in known + OF_WORKERS}
        self._prepare(comm, root, *first, rest)

    __enter__ = PoolExecutor.__enter__  # type: ignore[assignment]

    @contextmanager
    def among_workers(self) -> Iterator[None]:
        """Let `get_comm_workers` answer on the ranks that work here. Collective."""
        global _workers
        comm = self._service.get_communicator()
        if not comm or running.inside_job or waiting.dispatcher_thread is not None:
            yield
            return
        from mpi4py import MPI

        if comm.Get_size() == 1:
            yield
            if self._get_backend().n_workers == 1:  # a thread of this process
                _workers = MPI.COMM_SELF
            return
        works = self._works(comm)
        workers = comm.Split(0 if works else MPI.UNDEFINED, comm.Get_rank())
        if not works:
            yield
            return
        _workers = workers
        try:
            yield
        finally:
            _workers = None
            with suppress(MPI.Exception):  # where one of them died
                workers.Free()

    def _works(self, comm: Any) -> bool:
        """Whether this rank gets calls: those that follow the root do, counted round."""
        ranks: int = comm.Get_size()
        place: int = (comm.Get_rank() - self._root) % ranks
        return 0 < place <= (self._wanted or ranks)


class MPICommExecutor:
    """Gives an executor to one rank of a communicator; the others run its calls.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part; by default all.
    root : int
        The rank that submits.
    **kwargs
        As of `MPIPoolExecutor`.

    Examples
    --------
    >>> with MPICommExecutor() as executor:
    ...     if executor is not None:
    ...         print(list(executor.map(abs, [-2, 3])))
    [2, 3]
    """

    def __init__(self, comm: Any = None, root: int = 0, **kwargs: Any) -> None:
        self._executor = _CommExecutor(comm, root, **kwargs)  # which checks the arguments
        if waiting.dispatcher_thread is not None:  # the other ranks wait already, for any executor
            self._executor = _CommExecutor(None, 0, **kwargs)
        self._entered = False
        self._works = False

    def __enter__(self) -> PoolExecutor | None:
        """Return the executor at the root; elsewhere work, and then return None."""
        if self._entered:
            raise RuntimeError("This executor is already entered; leave its `with` block first")
        self._entered = True
        try:
            with self._executor.among_workers():
                executor: PoolExecutor | None = self._executor.__enter__()
        except BaseException:
            self._entered = False
            raise
        self._works = executor is None
        return executor

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End; what a worker ran into in code that is the root's is forgotten, as by mpi4py."""
        global _workers
        self._entered = False
        try:
            self._executor.__exit__(kind, error, traceback)
        finally:
            _workers = None
        return self._works


def get_comm_workers() -> Any:
    """Return the communicator of the workers of a `MPICommExecutor`; for use in calls.

    In workers that the program spawned it is that of all workers of its executor.

    Raises
    ------
    RuntimeError
        When this process does not work for one.
    """
    workers = waiting.siblings if _workers is None else _workers
    if workers is None:
        raise RuntimeError(
            "communicator is not accessible: this process does not run calls of an MPICommExecutor"
        )
    return workers
