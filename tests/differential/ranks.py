"""Run programs on the ranks of this run; `differential.__main__` starts it with mpiexec.

mpiexec -n 3 python -m differential.ranks pool 0 100     (in `tests`)
"""

from __future__ import annotations

import sys

from mpi4py import MPI

from differential.session import Session


def main(kind: str, first: str, end: str, *skip: str) -> int:
    """Return the exit code."""
    session = Session(MPI.COMM_WORLD)
    if session.rank:
        session.follow()
        return 0
    session.skip = skip
    different = session.play_seeds(kind, range(int(first), int(end)))
    session.end()
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
