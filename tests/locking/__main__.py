"""Many operations on counters under the lock: ``python -m locking ENVS`` in the folder `tests`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from helpers.launch import environment, launcher, start, stop

PROGRAM = Path(__file__).with_name("ranks.py")


def check(python: Path, ranks: int, nodes: int, operations: int, minutes: float) -> str:
    """Run the program; return its last line, or all that it printed if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "counters").write_bytes(bytes(64))
        command = [*launcher(ranks, python), str(python), str(PROGRAM), str(operations // ranks)]
        env = environment(python, BSBPOOL_TEST_NODES=str(nodes))
        process = start(command, folder, env)
        try:
            text, _ = process.communicate(timeout=60 * minutes)
        finally:
            stop(process)
    lines = [line for line in text.splitlines() if "none lost" in line]
    return lines[-1] if lines and process.returncode == 0 else f"FAILED\n{text}"


def main() -> int:
    """Run all combinations; return the exit code."""
    parser = argparse.ArgumentParser(prog="locking", description=__doc__)
    parser.add_argument("envs", type=Path, help="the folder with the environments")
    parser.add_argument("--mpi", nargs="+", default=["mpich", "openmpi"], help="which of them")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2], help="pretended nodes")
    parser.add_argument("--operations", type=int, default=1_000_000, help="of all ranks together")
    parser.add_argument("--minutes", type=float, default=20.0, help="the most for each run")
    options = parser.parse_args()
    failed = 0
    for mpi in options.mpi:
        python = options.envs.absolute() / mpi / "bin" / "python"
        for ranks in options.ranks:
            for nodes in options.nodes:
                begun = time.monotonic()
                said = check(python, ranks, nodes, options.operations, options.minutes)
                failed += said.startswith("FAILED")
                seconds = time.monotonic() - begun
                print(f"{mpi:8} {ranks} ranks, {nodes} nodes: {said}, {seconds:.0f} s", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
