"""Runs the programs, each in processes of its own, and prints tables of medians.

::

    python -m benches throughput    # jobs/s of no-op jobs, beside the peers
    python -m benches upstream      # the main rank's CPU, beside bsb-core's own pool

Run it in an environment with bsbpool, mpi4py, an MPI and bsb-core, on a machine
that does nothing else. `--runs` is how often each figure is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"


def measure(program: str, jobs: int, ranks: int, seconds: float = 1800) -> dict:
    """Run a program once and return the figures that it prints."""
    command = [sys.executable, str(PROGRAMS / f"{program}.py"), str(jobs)]
    if ranks > 1:
        mpiexec = Path(sys.executable).parent / "mpiexec"
        command = [str(mpiexec), "-n", str(ranks), *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, env=environment()
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    # Ranks may print what they like; the figures are a line of their own.
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def environment() -> dict[str, str]:
    env = dict(os.environ)
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    if os.geteuid() == 0:
        env["OMPI_ALLOW_RUN_AS_ROOT"] = env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return env


def medians(cases: list[tuple[str, str, int, int]], runs: int) -> dict[str, dict]:
    """Run the cases in turn, `runs` times each, so that noise falls on all alike."""
    taken: dict[str, list[dict]] = {name: [] for name, *_ in cases}
    for _ in range(runs):
        for name, program, jobs, ranks in cases:
            taken[name].append(measure(program, jobs, ranks))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {
        name: {key: statistics.median(run[key] for run in all_runs) for key in all_runs[0]}
        for name, all_runs in taken.items()
    }


def throughput(runs: int) -> None:
    cases = [
        ("bsbpool, 2 ranks", "noop_bsbpool", 100_000, 2),
        ("bsbpool, serial", "noop_bsbpool", 100_000, 1),
        ("mpi4py.futures submit, 2 ranks", "noop_futures", 10_000, 2),
        ("bsb-core, 2 ranks", "noop_bsb", 4_000, 2),
        ("bsb-core, serial", "noop_bsb", 4_000, 1),
    ]
    found = medians(cases, runs)
    reference = found["bsbpool, 2 ranks"]
    print("| no-op jobs | jobs | jobs/s | us of main CPU a job | bsbpool, 2 ranks is |")
    print("|---|---|---|---|---|")
    for name, figures in found.items():
        rate = figures["jobs"] / figures["seconds"]
        faster = reference["jobs"] / reference["seconds"] / rate
        cpu = 1e6 * figures["cpu"] / figures["jobs"]
        print(f"| {name} | {figures['jobs']:,} | {rate:,.0f} | {cpu:.1f} | {faster:,.2f}x |")


def upstream(runs: int) -> None:
    print("| jobs, 2 ranks | bsb-core: CPU s of rank 0 | bsbpool: CPU s of rank 0 | share |")
    print("|---|---|---|---|")
    for jobs in (500, 2_000, 8_000):
        found = medians([("bsb", "noop_bsb", jobs, 2), ("own", "noop_bsbpool", jobs, 2)], runs)
        theirs, ours = found["bsb"]["cpu"], found["own"]["cpu"]
        print(f"| {jobs:,} | {theirs:.2f} | {ours:.3f} | {ours / theirs:.2%} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("throughput", "upstream"))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    {"throughput": throughput, "upstream": upstream}[options.table](options.runs)


if __name__ == "__main__":
    main()
