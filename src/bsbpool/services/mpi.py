"""The MPI service: a communicator, or its substitute in a program of one process."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bsbpool import exceptions
from bsbpool._typing import Any
from bsbpool.process import running
from bsbpool.services.launchers import IGNORE, is_started_by_mpi


class MPIService:
    """A communicator with the few methods that a workflow needs.

    Without mpi4py it behaves as a communicator of one process. Inside a job, which a single rank
    runs, and in a program of ``python -m bsbpool.run``, the collective methods also return what
    they return for one process.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The communicator, ``COMM_WORLD`` by default.
    """

    def __init__(self, comm: Any = None) -> None:
        self._mpi: Any = MPIModule("mpi4py.MPI")
        self._comm = comm or self._mpi.COMM_WORLD

    def get_communicator(self) -> Any:
        """Return the mpi4py communicator; None without mpi4py."""
        return self._comm

    @property
    def _has_others(self) -> bool:
        # One rank alone runs a job, so a collective call would never return there.
        return bool(self._comm) and not running.in_job and not running.workers_dedicated

    def get_rank(self) -> int:
        """Return the rank of this process."""
        return self._comm.Get_rank() if self._comm else 0

    def get_size(self) -> int:
        """Return the number of processes."""
        return self._comm.Get_size() if self._comm else 1

    def barrier(self) -> None:
        """Wait for all processes."""
        if self._has_others:
            self._comm.Barrier()

    def abort(self, errorcode: int = 1) -> None:
        """Abort all processes with `MPI_Abort`."""
        if self._comm:
            self._comm.Abort(errorcode)
        print("MPI Abort called on MockCommunicator", flush=True)
        sys.exit(errorcode)

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return the object of the root on all processes."""
        return self._comm.bcast(obj, root=root) if self._has_others else obj

    def gather(self, obj: Any, root: int = 0) -> list[Any] | None:
        """Return the list of the objects of all processes on the root, None elsewhere."""
        return self._comm.gather(obj, root=root) if self._has_others else [obj]

    def allgather(self, obj: Any) -> list[Any]:
        """Return the list of the objects of all processes on each of them."""
        return self._comm.allgather(obj) if self._has_others else [obj]

    def window(self, buffer: Any) -> Any:
        """Make an RMA window on a buffer. Collective; with one process, return a substitute."""
        if self.get_size() == 1:
            return WindowMock()
        return self._mpi.Win.Create(buffer, True, self._mpi.INFO_NULL, self._comm)

    @contextmanager
    def try_all(self, default_exception: Exception | None = None) -> Iterator[None]:
        """Raise on all processes if the block raises on any of them. Collective.

        Parameters
        ----------
        default_exception : Exception, optional
            The error of processes whose own block did not raise; a `RuntimeError` by default.
        """
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        errors = self.allgather(own)
        if own is not None:
            raise own
        if any(error is not None for error in errors):
            raise default_exception or RuntimeError("An error occurred on a different rank")

    @contextmanager
    def try_main(self) -> Iterator[None]:
        """Raise the error of the block on the main process on all processes. Collective.

        All processes execute the block, but errors on other processes are ignored.
        """
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        error_of_main = self.bcast(own)
        if error_of_main is not None:
            raise error_of_main


class MockModule:
    """Base class of substitutes for modules.

    Calling a subclass with the name of a module returns that module. If it cannot be imported, the
    result is an instance of the subclass.
    """

    # mpi4py raises RuntimeError if it is installed but finds no MPI library.
    _missing = (ImportError, RuntimeError)
    _mocked: bool

    def __new__(cls, module: str) -> Any:
        """Import `module`, or make its substitute."""
        try:
            return importlib.import_module(module)
        except cls._missing:
            mock = super().__new__(cls)
            mock._mocked = True
            return mock


class MPIModule(MockModule):
    """The module `mpi4py.MPI`, or its substitute in a program of one process."""

    @property
    def COMM_WORLD(self) -> None:
        """None; raises `DependencyError` if an MPI launcher started this process."""
        if is_started_by_mpi() and IGNORE not in os.environ:
            raise exceptions.DependencyError(
                "MPI runtime detected without parallel support: mpi4py or its MPI library is "
                "missing. Please install with `pip install bsb[parallel]` (or `bsbpool[mpi]`). "
                "Set `BSB_IGNORE_PARALLEL` to ignore this error."
            )


class WindowMock:
    """A substitute for an RMA window in a program of one process."""

    def Get(self, bufspec: Any, rank: int) -> Any:
        """Return the caller's own buffer."""
        return bufspec[0]

    def Lock(self, rank: int) -> None:
        """Do nothing."""

    def Unlock(self, rank: int) -> None:
        """Do nothing."""
