"""The storage of a compile: whether it can be used to go on, its state and its checkpoint."""

from __future__ import annotations

import os
from typing import Any

from bsbpool import exceptions
from bsbpool.integrations.bsb.resuming import files, state
from bsbpool.integrations.bsb.resuming.options import ResumeOptions
from bsbpool.integrations.bsb.resuming.state import CompileState
from bsbpool.journal.digests import stable_digest
from bsbpool.journal.file import JournalFile
from bsbpool.logs import logger

PHASES = ["pipelines", "placement", "after_placement", "connectivity", "after_connectivity"]
ADVICE = (
    "Delete it, and the same command builds the network anew. With --checkpoint-file FILE a copy "
    "of it is kept after each phase, from which a run goes on after such a damage"
)
_log = logger("journals")


class ResumableStorage:
    """The HDF5 file of a compile with a journal, and its state; for rank 0.

    Parameters
    ----------
    options : ResumeOptions
        The options of the command.

    Attributes
    ----------
    state : CompileState or None
        The state of the compile; None before a storage is known.
    """

    def __init__(self, options: ResumeOptions) -> None:
        self._options = options
        JournalFile(options.journal).close()  # raises if it is in use
        self.state = state.read(options.journal)

    @property
    def seed(self) -> int | None:
        """The seed of the compile that goes on."""
        return None if self.state is None or self.state.finished else self.state.seed

    @property
    def known(self) -> CompileState:
        """The state of the compile, which is known from now on."""
        assert self.state is not None
        return self.state

    def save(self) -> None:
        """Write the state."""
        state.write(self._options.journal, self.known)

    def prepare(self, engine: str, root: Any) -> None:
        """Check the storage before BSB opens it; restore it if it is damaged.

        Raises
        ------
        JournalError
            If it is damaged and cannot be restored.
        """
        if engine != "hdf5":
            raise exceptions.JournalError(
                f"--journal needs a network in an HDF5 file, and the storage engine is {engine!r}"
            )
        path = os.path.abspath(os.fspath(root))
        known = self.state
        if known is None or known.storage != path:
            if known is not None:
                _log.warning(
                    "%s is the journal of %s; the network %s is built anew",
                    self._options.journal, known.storage, path,
                )  # fmt: skip
            self.state = None
            if not os.path.exists(path):
                self.begin(path)
        elif not known.digest:
            if os.path.exists(path):
                os.unlink(path)  # the run was cut off before anything was built
            self.begin(path)
        elif known.restoring:
            self.restore("it was being restored")
        elif not os.path.exists(path):
            if self._has_checkpoint():
                self.restore("it is missing")
            else:
                _log.warning("%s is missing; the network is built anew", path)
                self.begin(path)
        elif not self._options.clear or not known.finished:
            problem = files.problem_of(path)
            if problem:
                self.restore(problem)

    def begin(self, path: str) -> None:
        """Begin anew with a storage that has nothing of value."""
        self.state = CompileState(path)
        self.save()

    def contents_id(self) -> str:
        """Return a text that differs after cells, labels or connections have changed."""
        import h5py

        with h5py.File(self.known.storage, "r") as file:
            found = [
                (name, str(group.attrs.get("revision")), str(group.attrs.get("chunks")))
                for kind in ("placement", "connectivity")
                for name, group in file[kind].items()
            ]
            return stable_digest([*found, list(file["morphologies"])])

    # ------------------------------------------------------------ checkpoints

    def _mark(self) -> dict[str, Any]:
        """Return the mark of the checkpoint; empty if it is of no use for this compile."""
        path = self._options.checkpoint_file
        mark = {} if path is None else files.mark_of(path)
        return mark if mark.get("run") == self.known.run else {}

    def _has_checkpoint(self) -> bool:
        path = self._options.checkpoint_file
        return bool(path and self._mark() and not files.problem_of(path))

    def save_checkpoint(self, phase: str) -> None:
        """Copy the network after a phase, unless the run has gone beyond it before."""
        path = self._options.checkpoint_file
        at = PHASES.index(phase)
        later = set(PHASES[at + 1 :]) & set(self.known.began)
        if path is None or later or PHASES.index(self._mark().get("phase", PHASES[0])) >= at > 0:
            return
        files.copy(self.known.storage, path, {"run": self.known.run, "phase": phase})

    def restore(self, problem: str) -> None:
        """Replace the network by the checkpoint, and discard what was done after it.

        Raises
        ------
        JournalError
            If there is none.
        """
        known, path = self.known, self._options.checkpoint_file
        if path is None or not self._has_checkpoint():
            kept = "" if path is None else f"; {path} has no intact copy of it either"
            raise exceptions.JournalError(
                f"{known.storage} cannot be used to go on: {problem}{kept}. {ADVICE}"
            )
        phase = self._mark()["phase"]
        known.restoring = True
        self.save()
        files.copy(path, known.storage, None)
        known.discard(PHASES[PHASES.index(phase) + 1 :])
        known.restoring = False
        self.save()
        _log.warning(
            "%s cannot be used to go on: %s. It was replaced by %s, its copy after the phase %s",
            known.storage, problem, path, phase,
        )  # fmt: skip
