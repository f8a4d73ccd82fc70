"""Simulate many seeds.

python -m sim --seeds 100000 --first 1     (in `tests`; `make sim` does so)
"""

import argparse
import multiprocessing
import sys
import time

from sim.seeds import work

MOST_REPORTED = 5


def main():
    parser = argparse.ArgumentParser(prog="python -m sim", description="Simulate many seeds.")
    parser.add_argument("--seeds", type=int, default=1000, help="the number of seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    start = time.monotonic()
    workers = []
    for number in range(min(args.processes, args.seeds)):
        seeds = range(args.first + number, args.first + args.seeds, args.processes)
        at = context.Value("q", seeds[0])
        process = context.Process(target=work, args=(seeds, at, reports), daemon=True)
        process.start()
        workers.append((process, at))
    failures = 0
    while failures < MOST_REPORTED and any(process.is_alive() for process, _ in workers):
        failures += print_reports(reports)
        time.sleep(0.1)
    failures += print_reports(reports)
    for process, at in workers:
        if process.exitcode not in (0, None):
            failures += 1
            print(f"seed {at.value} ended its process with {process.exitcode}", flush=True)
    seconds = time.monotonic() - start
    print(f"{args.seeds} seeds from {args.first}: {failures} failures, {seconds:.1f} s")
    return 1 if failures else 0


def print_reports(reports):
    """Print the reports of failures; return their number."""
    n = 0
    while not reports.empty():
        print(reports.get(), end="\n\n", flush=True)
        n += 1
    return n


if __name__ == "__main__":
    sys.exit(main())
