"""Start programs on several ranks, with the MPI of an environment and with a time limit."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TESTS = Path(__file__).parents[1]
OF_THE_LAUNCHER = ("OMPI_", "PMIX_", "PRTE_", "PMI_", "HYDRA_", "HYDI_", "MPI_LOCAL")
"""Prefixes of the variables that mpiexec sets for its ranks."""


def find_mpiexec(python: str | Path = sys.executable) -> str | None:
    """Return the `mpiexec` in the folder of a Python, else the one on PATH, else None."""
    beside = Path(python).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


@functools.cache
def is_openmpi(mpiexec: str) -> bool:
    """Return whether an `mpiexec` is that of Open MPI."""
    version = subprocess.run(
        [mpiexec, "--version"], env=environment(), capture_output=True, text=True, timeout=60
    )
    return "Open MPI" in version.stdout


def launcher(n: int, python: str | Path = sys.executable) -> list[str]:
    """Return the beginning of a command line that starts `n` ranks."""
    mpiexec = find_mpiexec(python)
    if mpiexec is None:
        raise FileNotFoundError(f"no mpiexec in the folder of {python} or on PATH")
    many = ["--oversubscribe"] if is_openmpi(mpiexec) else []
    return [mpiexec, *many, "-n", str(n)]


def environment(python: str | Path = sys.executable, **more: str) -> dict[str, str]:
    """Return the variables for an MPI run with a Python, without those of a launcher."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(OF_THE_LAUNCHER)}
    env["PATH"] = os.pathsep.join([str(Path(python).parent), env.get("PATH", os.defpath)])
    env.setdefault("HOME", str(Path.home()))  # Open MPI does not start without
    env.setdefault("OMP_NUM_THREADS", "1")
    env.setdefault("UCX_LOG_LEVEL", "error")
    if os.geteuid() == 0:
        env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return env | {"PYTHONUNBUFFERED": "1"} | more


def mpirun(
    n: int,
    *args: str | Path,
    timeout: float = 60.0,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run ``python *args`` on `n` ranks and wait until it ends.

    Parameters
    ----------
    n : int
        Number of ranks. With 1 there is no mpiexec.
    *args : str or path
        A script and its arguments, or ``"-m", module, ...``, or ``"-c", code``.
    timeout : float
        Seconds after which all ranks are ended.
    cwd : path, optional
        The working directory.
    env : mapping, optional
        Further environment variables.

    Returns
    -------
    subprocess.CompletedProcess
        `stdout` has the text of both streams.

    Raises
    ------
    subprocess.TimeoutExpired
        If the program did not end in time; it holds the text so far.
    """
    command = [*(launcher(n) if n > 1 else []), sys.executable, *map(str, args)]
    process = start(command, cwd=cwd, env=environment() | dict(env or {}))
    try:
        text, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as late:
        stop(process)
        late.output, _ = process.communicate()
        raise
    except BaseException:
        stop(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, text)


def start(
    command: Sequence[str], cwd: str | Path | None, env: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Start a process in a new session, with one pipe for both of its streams."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str], patience: float = 5.0) -> None:
    """End a process that `start` started, and its whole session.

    SIGTERM comes first, so that mpiexec can clean up. Its ranks have other process groups, but the
    same session.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    for pid in session(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def session(leader: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which may contain spaces: state, parent, group, session.
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                found.append(int(stat.parent.name))
    return found
