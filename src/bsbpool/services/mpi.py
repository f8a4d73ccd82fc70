"""The communicator, or what stands for it in a single process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bsbpool import exceptions
from bsbpool.running import running
from bsbpool.services._util import MockModule
from bsbpool.services.launchers import IGNORE, is_started_by_mpi


class MPIService:
    """A communicator with the few calls that a workflow needs.

    Without mpi4py it is the communicator of a single process. Inside a job, which one
    rank runs alone, and in a program of ``python -m bsbpool.run``, its collective calls answer
    as for a single process as well.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The communicator, ``COMM_WORLD`` by default.
    """

    def __init__(self, comm: Any = None) -> None:
        self._mpi: Any = MPIModule("mpi4py.MPI")
        self._comm = comm or self._mpi.COMM_WORLD

    def get_communicator(self) -> Any:
        """Return the mpi4py communicator, None when there is none."""
        return self._comm

    @property
    def _has_others(self) -> bool:
        # A job is on one rank alone: nobody would answer there, for ever.
        return bool(self._comm) and not running.inside_job and not running.workers_dedicated

    def get_rank(self) -> int:
        """Return the number of this process, from 0."""
        return self._comm.Get_rank() if self._comm else 0

    def get_size(self) -> int:
        """Return the number of processes."""
        return self._comm.Get_size() if self._comm else 1

    def barrier(self) -> None:
        """Wait for all processes."""
        if self._has_others:
            self._comm.Barrier()

    def abort(self, errorcode: int = 1) -> None:
        """End all processes at once."""
        if self._comm:
            self._comm.Abort(errorcode)
        print("MPI Abort called on MockCommunicator", flush=True)
        sys.exit(errorcode)

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Return the root's object on all processes."""
        return self._comm.bcast(obj, root=root) if self._has_others else obj

    def gather(self, obj: Any, root: int = 0) -> list[Any] | None:
        """Return the objects of all processes on the root, None elsewhere."""
        return self._comm.gather(obj, root=root) if self._has_others else [obj]

    def allgather(self, obj: Any) -> list[Any]:
        """Return the objects of all processes on all of them."""
        return self._comm.allgather(obj) if self._has_others else [obj]

    def window(self, buffer: Any) -> Any:
        """Make an RMA window on a buffer; collective. With one process, a stand-in."""
        if self.get_size() == 1:
            return WindowMock()
        return self._mpi.Win.Create(buffer, True, self._mpi.INFO_NULL, self._comm)

    @contextmanager
    def try_all(self, default_exception: Exception | None = None) -> Iterator[None]:
        """Make the error of any process one of all processes. Collective.

        Parameters
        ----------
        default_exception : Exception, optional
            What the processes without an error of their own raise.
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
        """Make the error of the main process one of all processes. Collective.

        All processes enter the block, but only the error of the main one counts.
        """
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        mains = self.bcast(own)
        if mains is not None:
            raise mains


class MPIModule(MockModule):
    """`mpi4py.MPI`, or its stand-in for a single process."""

    @property
    def COMM_WORLD(self) -> None:
        """No communicator; an error when a launcher of MPI started this process."""
        if is_started_by_mpi() and IGNORE not in os.environ:
            raise exceptions.DependencyError(
                "MPI runtime detected without parallel support: mpi4py or its MPI library is "
                "missing. Please install with `pip install bsb[parallel]` (or `bsbpool[mpi]`). "
                "Set `BSB_IGNORE_PARALLEL` to ignore this error."
            )


class WindowMock:
    """An RMA window that only this process looks into."""

    def Get(self, bufspec: Any, rank: int) -> Any:
        """Return the caller's own buffer."""
        return bufspec[0]

    def Lock(self, rank: int) -> None:
        """Do nothing."""

    def Unlock(self, rank: int) -> None:
        """Do nothing."""
