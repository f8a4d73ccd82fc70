"""Start a soak run, with counted MPI handles if there is an MPI, and check its counts."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from helpers.launch import TESTS, environment, find_mpiexec, is_openmpi, launcher, start, stop

SOURCE = Path(__file__).with_name("pmpi_count.c")
REPORTS = {"OMPI_MCA_mpi_show_handle_leaks": "1", "MPIR_CVAR_ABORT_ON_LEAKED_HANDLES": "1"}
"""Reports of an MPI about handles that were not freed. The builds in the wheels have none."""
COMPLAINTS = ("still allocated in MPI_Finalize", "leaked", "pending", "Traceback")
FLAT = 0.02
"""The growth of memory, from a third of the run to its end, that is allowed."""
BLOCKS = 2_000
"""The growth of Python's blocks that is allowed. Caches fill, but not with the length of a run."""
HEAP = 512 << 10
"""The growth of malloc's bytes that is allowed: 50 for each of 10,000 pools."""
MIB = 1 << 20
REQUESTS = 5 * MIB // 4
"""Bytes of a block of requests. MPICH allocates another block when many messages come early."""


class Soaked(NamedTuple):
    """The counts of the ranks of a soak run, and its other output."""

    ranks: list[dict[str, Any]]
    text: str


def build_counter(folder: Path, python: str | Path = sys.executable) -> Path:
    """Compile the counting library with the mpicc of an environment; return its path."""
    library = folder / "libpmpi_count.so"
    mpicc = Path(python).parent / "mpicc"
    command = [mpicc, "-O2", "-fPIC", "-shared", SOURCE, "-o", library]
    subprocess.run(list(map(str, command)), check=True, timeout=120, env=environment(python))
    return library


def command_of(ranks: int, python: str | Path, folder: Path) -> list[str]:
    """Return the beginning of a command; only the ranks are counted, not mpiexec."""
    if not ranks:
        return [str(python)]
    preload = f"LD_PRELOAD={build_counter(folder, python)}"
    return [*launcher(ranks, python), "env", preload, str(python)]


def soak(
    *program: object,
    ranks: int,
    folder: Path,
    python: str | Path = sys.executable,
    timeout: float = 60.0,
) -> Soaked:
    """Run a program of `soak.program`; without mpiexec when `ranks` is 0.

    Parameters
    ----------
    *program : object
        Its name and arguments.
    ranks : int
        How many ranks.
    folder : path
        Where the counting library is built.
    python : path, optional
        Of the environment to run in.
    timeout : float
        Seconds after which the ranks are ended; an error then.
    """
    command = [*command_of(ranks, python, folder), "-m", "soak.program", *map(str, program)]
    process = start(command, cwd=TESTS, env=environment(python, **REPORTS))
    try:
        text, _ = process.communicate(timeout=timeout)
    except BaseException:
        stop(process)
        raise
    report = [line for line in text.splitlines() if line.startswith("soak: ")]
    assert process.returncode == 0 and report, text
    return Soaked(json.loads(report[0][len("soak: ") :]), text)


def growth(memory: Sequence[int]) -> float:
    """Return the relative growth of memory from a third of a run to its end.

    Single looks differ by what happens to be free at the moment, so some are taken together.
    """
    third = len(memory) // 3
    few = max(1, third // 3)
    earlier = statistics.median(memory[third : third + few])
    return statistics.median(memory[-few:]) / earlier - 1


def faults(soaked: Soaked, flat: float = FLAT, heap: int = HEAP) -> list[str]:
    """Describe the resources that were not released; none if all were."""
    found = [line for line in soaked.text.splitlines() if any(map(line.__contains__, COMPLAINTS))]
    for rank, report in enumerate(soaked.ranks):
        found += [f"rank {rank}: {fault}" for fault in _faults_of(report, flat, heap)]
    if soaked.ranks[0]["after"]["mpi"]:
        found += _faults_of_mpi(soaked)
    return found


def _faults_of(report: dict[str, Any], flat: float, heap: int) -> list[str]:
    before, after = report["before"], report["after"]
    found = [
        f"{what} {before[what]} -> {after[what]}"
        for what in ("descriptors", "threads", "objects")
        if _exceeds(after[what], before[what])
    ]
    if after["blocks"] > before["blocks"] + BLOCKS:
        found.append(f"blocks {before['blocks']} -> {after['blocks']}")
    if after["heap"] > before["heap"] + heap + (REQUESTS if after["mpi"] else 0):
        found.append(f"heap {before['heap']} -> {after['heap']}")
    if growth(report["memory"]) > flat:
        found.append(f"memory grew by {growth(report['memory']):.1%}: {report['memory']}")
    for what in ("requests", "communicators"):
        if after["mpi"] and after["mpi"][what] > before["mpi"][what]:
            found.append(f"{what} {before['mpi'][what]} -> {after['mpi'][what]}")
    return found


def _exceeds(after: Any, before: Any) -> bool:
    if isinstance(after, dict):
        return any(after[kind] > before.get(kind, 0) for kind in after)
    return bool(after > before)


def _faults_of_mpi(soaked: Soaked) -> list[str]:
    """Messages that were never received, and requests that were active when MPI ended."""
    found = []
    sends, receives = (
        sum(report["after"]["mpi"][kind] for report in soaked.ranks)
        for kind in ("sends", "receives")
    )
    if sends != receives:
        found.append(f"{sends} messages were sent, {receives} received")
    left = re.findall(r"leaves (\d+) requests and (\d+) communicators", soaked.text)
    # A channel lives as long as its communicator; COMM_WORLD lives until MPI ends.
    if left != [("0", "1")] * len(soaked.ranks):
        found.append(f"requests and communicators at the end of MPI: {left}")
    return found


def environment_name(python: str | Path) -> str:
    """Return the name of the MPI of an environment."""
    mpiexec = find_mpiexec(python)
    return "none" if mpiexec is None else "Open MPI" if is_openmpi(mpiexec) else "MPICH"
