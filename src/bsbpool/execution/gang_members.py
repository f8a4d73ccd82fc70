"""Jobs that several ranks run at one time, on each of these ranks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from bsbpool._core.jobs.invoke import RunningJob
from bsbpool.naming import add_note
from bsbpool.timers import timers

LARGEST_TAG = 32_767
"""The largest tag that each MPI supports."""
SECONDS_BETWEEN_LOOKS = 0.1
"""How often it is asked whether a job that may wait inside MPI was interrupted."""


class Gang:
    """The ranks that run a job at one time.

    Attributes
    ----------
    ranks : tuple of int
        The ranks, in the communicator of the pool; their order is that in `comm`.
    comm : mpi4py.MPI.Intracomm or None
        Their communicator.
    error : BaseException or None
        Why there is no communicator.
    member : GangMember or None
        What this rank knows of such jobs.
    """

    def __init__(
        self, ranks: tuple[int, ...], comm: Any, error: BaseException | None = None
    ) -> None:
        self.ranks, self.comm, self.error = ranks, comm, error
        self.member: GangMember | None = None

    @property
    def is_first(self) -> bool:
        """Whether this rank is the first one."""
        return bool(self.comm.Get_rank() == 0)


class GangMember:
    """The communicators of this rank for the jobs of one run that it runs with others.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The communicator of the pool.

    Attributes
    ----------
    has_secondary : bool
        Whether the present job has failed here only because MPI reported the failure of another
        rank.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._group: Any = None
        self._gangs: dict[int, Gang] = {}  # by the number of the communicator
        self._discarded: list[Any] = []
        self.has_secondary = False
        self._number = -1  # of the next job, or of the one that runs
        self._gang: Gang | None = None

    def form(self, number: int, serial: int, ranks: Sequence[int]) -> None:
        """Make or find a communicator for a job; all of the ranks do so at one time."""
        gang = self._gangs.get(serial)
        if gang is None:
            gang = self._make(serial, tuple(ranks))
        self._number, self._gang = number, gang
        self.has_secondary = False
        gang.member = self

    def _make(self, serial: int, ranks: tuple[int, ...]) -> Gang:
        if self._group is None:
            self._group = self._comm.Get_group()
        try:
            group = self._group.Incl(ranks)
            try:
                comm = self._create(group, serial)
            finally:
                group.Free()
        except Exception as error:
            add_note(
                error,
                f"MPI has made no communicator for the ranks {list(ranks)}. Each job on several "
                "ranks that failed keeps its communicator until the program ends; an MPI has "
                "about 2,000.",
            )
            return Gang(ranks, None, error)
        gang = self._gangs[serial] = Gang(ranks, comm)
        return gang

    def _create(self, group: Any, serial: int) -> Any:
        if not survives_failures():
            return self._comm.Create_group(group, serial % LARGEST_TAG)
        # This needs no communicator, and the pool's is unusable for this after a rank has died. It
        # takes longer, but all members must do the same, and they learn of deaths at other times.
        from mpi4py import MPI

        comm = self._comm.Create_from_group(
            group, f"bsbpool-{serial}", errhandler=MPI.ERRORS_RETURN
        )
        try:
            # Open MPI crashes if a communicator is revoked that this rank is still making: a member
            # that is faster may run the job, fail and revoke it.
            comm.Barrier()
        except BaseException:
            self._discarded.append(comm)
            raise
        return comm

    def free(self, serial: int, discarded: bool) -> None:
        """Free a communicator, or do not use it any more.

        MPI gives the context of a freed communicator to the next one, which would receive messages
        of a failed job. So a communicator of such a job is not freed.
        """
        gang = self._gangs.pop(serial, None)
        if gang is None:
            return
        if discarded:
            self._discarded.append(gang.comm)
        else:
            gang.comm.Free()

    def close(self) -> None:
        """Free all communicators, in the same order on all ranks."""
        gangs, self._gangs = self._gangs, {}
        for serial in sorted(gangs):
            with suppress(Exception):  # MPI has noticed that a member has died
                gangs[serial].comm.Free()
        if self._group is not None:
            self._group.Free()

    def gang_of(self, number: int) -> Gang | None:
        """Return the gang of the job that runs, if it is a job on several ranks."""
        return self._gang if number == self._number else None


def call_together(
    running: RunningJob, gang: Gang, gather: bool, f: Callable[[], Any]
) -> Any:
    """Run this rank's part of a job; return its result if that is wanted, else None.

    If the part fails, or the job is interrupted, the communicator is revoked if the MPI supports
    that. So other ranks do not wait inside MPI for this one.
    """
    if gang.error is not None:
        raise gang.error
    watch = _Watch(running, gang.comm) if survives_failures() else None
    try:
        value = running.call(f)
    except BaseException as error:
        if watch is not None:
            revoke(gang.comm)
            if gang.member is not None:
                gang.member.has_secondary = _is_secondary(error)
        raise
    finally:
        if watch is not None:
            watch.stop()
    return value if gather or gang.is_first else None


def _is_secondary(error: BaseException) -> bool:
    """Whether MPI has raised an error because another rank has died, or revoked a communicator."""
    from mpi4py import MPI

    codes = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED)
    return isinstance(error, MPI.Exception) and error.Get_error_class() in codes


def survives_failures() -> bool:
    """Whether communicators can be revoked: Open MPI was started with ``--with-ft ulfm``."""
    return os.environ.get("OMPI_MCA_mpi_ft_enable", "0") not in ("0", "false")  # noqa: SIM112


def revoke(comm: Any) -> None:
    """Let all calls on a communicator fail, on all of its ranks."""
    with suppress(Exception):
        comm.Revoke()


class _Watch:
    """Revokes a communicator when its job was interrupted, which may wait inside MPI."""

    def __init__(self, running: RunningJob, comm: Any) -> None:
        self._running, self._comm = running, comm
        self._number = running.number
        self._ended = False
        self._look()

    def _look(self) -> None:
        if self._ended:
            return
        if self._running.interrupted(self._number):
            revoke(self._comm)
        else:
            self._timer = timers.call_at(time.monotonic() + SECONDS_BETWEEN_LOOKS, self._look)

    def stop(self) -> None:
        """Stop: the job has ended."""
        self._ended = True
        timers.cancel(self._timer)
