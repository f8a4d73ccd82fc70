"""Starts the probe: on ranks of a launcher, or as the rank that this process is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bsbpool.diagnostics.launcher import Launcher
from bsbpool.diagnostics.probe import EACH_RANK, MARK, PROGRAM, WITHOUT_INIT
from bsbpool.services.launchers import OF_MPI

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
REFUSES_ROOT = "attempt to run as root"
TOO_FEW_SLOTS = "not enough slots"
OF_RANKS = ("PMI_", "PMIX_", "OMPI_COMM_WORLD_", "HYDI_", "MPI_LOCAL", "PALS_", *OF_MPI)
"""Beginnings of the names of variables that launchers set for each rank."""
LIBRARY_SECONDS = 20.0


@dataclass
class Trial:
    """A run of the probe.

    Attributes
    ----------
    command : list of str
        The command.
    answers : list of dict
        What the probes printed.
    code : int or None
        The exit code; None if the run was ended at the time limit.
    errors : str
        What was written to standard error.
    library : dict
        Facts about the MPI library, if there are no answers.
    refusals : list of str
        Which of REFUSES_ROOT and TOO_FEW_SLOTS the launcher said in earlier attempts.
    """

    command: list[str]
    answers: list[dict[str, Any]]
    code: int | None
    errors: str
    library: dict[str, Any] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, Any]:
        """The first answer, else facts about the library only."""
        return self.answer or self.library

    @property
    def answer(self) -> dict[str, Any]:
        """The first answer; empty if there is none."""
        return self.answers[0] if self.answers else {}

    @property
    def size(self) -> int:
        """The number of ranks that MPI sees; 0 if there is no answer."""
        return int(self.answer.get("size", 0))


def try_as_this_rank(seconds: float) -> Trial:
    """Run the probe as a child of this process, which takes the place of its rank.

    The child inherits the environment and the file descriptors of the launcher. This process does
    not initialize MPI itself.
    """
    return _with_library(_run([*PROGRAM, EACH_RANK], os.environ, seconds))


def try_launcher(launcher: Launcher, n: int, seconds: float) -> Trial:
    """Start the probe on `n` ranks.

    If the launcher refuses to start ranks for root, or has too few slots, it is asked again with
    these checks turned off, so that one call finds further faults.
    """
    environ = _without_ranks(os.environ)
    refusals: list[str] = []
    while True:
        command = launcher.start(n, PROGRAM, oversubscribe=TOO_FEW_SLOTS in refusals)
        more = AS_ROOT if REFUSES_ROOT in refusals else {}
        trial = _run(command, environ | more, seconds, group=True)
        trial.refusals = refusals
        said = [text for text in (REFUSES_ROOT, TOO_FEW_SLOTS) if text in trial.errors]
        if trial.answers or not set(said) - set(refusals):
            return _with_library(trial)
        refusals.extend(said)


def _without_ranks(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that a launcher has set for this process."""
    if not any(name in environ for name in OF_MPI):
        return dict(environ)
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(OF_RANKS) or name.startswith("PMIX_MCA_")
    }


def _with_library(trial: Trial) -> Trial:
    """Add facts about the MPI library to a trial without answers."""
    if not trial.answers:
        looked = _run([*PROGRAM, WITHOUT_INIT], os.environ, LIBRARY_SECONDS)
        trial.library = looked.answer
    return trial


def _run(
    command: Sequence[str], environ: Mapping[str, str], seconds: float, *, group: bool = False
) -> Trial:
    """Run a command; with `group` in a process group of its own, which is ended with it."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", env=dict(environ), close_fds=False,
            start_new_session=group,
        )  # fmt: skip
    except OSError as error:
        return Trial(list(command), [], 127, str(error))
    try:
        output, errors = process.communicate(timeout=seconds)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        output, errors = _end(process, group)
        code = None
    except BaseException:
        _end(process, group)
        raise
    return Trial(list(command), answers_in(output), code, errors)


def _end(process: subprocess.Popen[str], group: bool) -> tuple[str, str]:
    """End a process, gently first so that a launcher ends its ranks; return its output."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5.0)
    with suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    try:
        return process.communicate(timeout=5.0)
    except subprocess.TimeoutExpired:  # processes that it left behind hold the pipes
        return "", ""


def answers_in(text: str) -> list[dict[str, Any]]:
    """Return the answers of the probes in the output of a run."""
    found = []
    for part in text.split(MARK)[1:]:
        try:
            found.append(json.JSONDecoder().raw_decode(part)[0])
        except ValueError:  # a launcher has broken the line
            continue
    return found
