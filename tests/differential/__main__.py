"""Run random programs and compare them with plain Python.

python -m differential --seeds 2000 --first 0     (in `tests`; `make differential` does so)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from differential.session import KINDS, SECONDS, TESTS, Session
from helpers.launch import mpirun


def play(kind: str, first: int, seeds: int, ranks: int, skip: Sequence[str] = ()) -> bool:
    """Run programs on a number of ranks, print the differences; return whether there are any."""
    if ranks == 1:
        session = Session()
        session.skip = tuple(skip)
        return session.play_seeds(kind, range(first, first + seeds)) > 0
    limit = 2 * SECONDS + seeds
    command = ("-m", "differential.ranks", kind, str(first), str(first + seeds), *skip)
    try:
        done = mpirun(ranks, *command, timeout=limit, cwd=TESTS)
    except subprocess.TimeoutExpired as late:
        print(f"{late.output}\nended after {limit:.0f} s", flush=True)
        return True
    print(done.stdout, end="", flush=True)
    return done.returncode != 0


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m differential", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--skip", nargs="*", default=[], help="leave out programs with such words")
    args = parser.parse_args()
    failed = 0
    for kind in args.kind:
        for ranks in args.ranks:
            start = time.monotonic()
            differs = play(kind, args.first, args.seeds, ranks, args.skip)
            failed += differs
            seconds = time.monotonic() - start
            word = "DIFFERENT" if differs else "no difference"
            played = f"{kind} on {ranks} ranks: {args.seeds} seeds"
            print(f"{played}, {word}, {seconds:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
