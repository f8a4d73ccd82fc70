"""The full soak, as a table: ``python -m soak ENVS`` with the folder of both environments."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .launching import MIB, Soaked, environment_name, faults, growth, soak

HEAD = (
    f"{'program':26}{'MPI':10}{'rank':>4}{'seconds':>9}{'MiB':>8}{'1/3 -> end':>12}{'heap KiB':>11}"
    f"{'descriptors':>14}{'threads':>10}{'objects':>11}{'requests':>10}{'comms':>8}"
)


def rows(title: str, mpi: str, soaked: Soaked) -> list[str]:
    """Return a line for each rank."""
    lines = []
    for rank, report in enumerate(soaked.ranks):
        before, after = report["before"], report["after"]
        pairs = [(before[what], after[what]) for what in ("descriptors", "threads")]
        pairs.append(tuple(sum(count["objects"].values()) for count in (before, after)))
        pairs += [
            (before["mpi"].get(what, 0), after["mpi"].get(what, 0))
            for what in ("requests", "communicators")
        ]
        shown = "".join(
            f"{f'{was} -> {now}':>{width}}"
            for (was, now), width in zip(pairs, (14, 10, 11, 10, 8), strict=True)
        )
        memory = report["memory"]
        lines.append(
            f"{title:26}{mpi:10}{rank:4}{report['seconds']:9.1f}{memory[-1] / MIB:8.1f}"
            f"{growth(memory):12.2%}{(after['heap'] - before['heap']) / 1024:+11.1f}{shown}"
        )
    return lines


def main() -> int:
    """Run all programs in all environments; return the exit code."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("envs", type=Path, help="the folder with the environments")
    parser.add_argument("--mpi", nargs="+", default=["mpich", "openmpi"], help="which of them")
    parser.add_argument("--pools", type=int, default=10_000, help="of the program `pools`")
    parser.add_argument("--jobs", type=int, default=5_000_000, help="of the program `jobs`")
    parser.add_argument("--ranks", type=int, nargs="+", default=[0, 3], help="0: without mpiexec")
    parser.add_argument("--minutes", type=float, default=30.0, help="the most for each program")
    options = parser.parse_args()
    many = max(1, options.jobs // 100_000)
    programs = [("pools", options.pools), ("jobs", many, options.jobs // many)]
    runs = [(mpi, n) for n in options.ranks for mpi in (options.mpi if n else options.mpi[:1])]
    trouble = []
    print(HEAD, flush=True)
    for mpi, n in runs:
        python = options.envs.absolute() / mpi / "bin" / "python"
        for program in programs:
            with tempfile.TemporaryDirectory() as folder:
                soaked = soak(
                    *program, ranks=n, folder=Path(folder), python=python,
                    timeout=60 * options.minutes,
                )  # fmt: skip
            title = " ".join(map(str, program))
            name = environment_name(python) if n else "serial"
            print(*rows(title, name, soaked), sep="\n", flush=True)
            trouble += [f"{title}, {name}: {fault}" for fault in faults(soaked)]
    print(*trouble, sep="\n")
    print("something was left behind" if trouble else "nothing was left behind")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
