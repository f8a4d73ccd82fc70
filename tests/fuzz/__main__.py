"""Run the fuzz targets, each in its own process for an equal share of the time.

    python -m fuzz --seconds 600
    python -m fuzz --target scalars --seed 7
    python -m fuzz --replay build/fuzz/scalars-1a2b3c4d

`make fuzz` runs it on modules that were built with sanitizers. An input that makes a target crash,
hang or raise an undocumented error is written to a file, which `--replay` runs again.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

from .engine import LONGEST, Target, explore, explore_with_atheris, has_atheris

TESTS = Path(__file__).parents[1]
FINDINGS = TESTS.parent / "build" / "fuzz"
NAMES = ("frames", "scalars", "worker", "main", "pool")
FAULTY = "faulty"  # a target with an error, for tests of the fuzzer


class RecordingTarget:
    """Calls a target, after writing the input to a file that outlives the process."""

    def __init__(self, target: Target, path: Path, time_limit: float) -> None:
        self._target = target
        with path.open("w+b") as file:
            file.truncate(8 + LONGEST)
            self._memory = mmap.mmap(file.fileno(), 0)
        self._time_limit = time_limit
        self._timer_set = 0.0

    def __call__(self, data: bytes) -> None:
        self._memory[:8] = len(data).to_bytes(8, "little")
        self._memory[8 : 8 + len(data)] = data
        now = time.monotonic()
        if now - self._timer_set > 1:
            self._timer_set = now
            faulthandler.dump_traceback_later(self._time_limit + 1, exit=True)
        self._target(data)


def last_input(path: Path) -> bytes:
    """Return the last input of a `RecordingTarget`."""
    data = path.read_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def run_target(name: str, seed: int, seconds: float, time_limit: float) -> None:
    """Fuzz a target in this process."""
    from . import targets

    faulthandler.enable()
    input_file = FINDINGS / f"input-{name}-{os.getppid()}"
    target = RecordingTarget(targets.TARGETS[name], input_file, time_limit)
    if has_atheris():
        explore_with_atheris(target, targets.seeds(name), seed, seconds, FINDINGS)
    else:
        print(f"{name}: {explore(target, targets.seeds(name), seed, seconds)}", flush=True)


def replay(path: Path, time_limit: float) -> None:
    """Run a target with the input of a file."""
    from . import targets

    faulthandler.enable()
    faulthandler.dump_traceback_later(time_limit, exit=True)
    targets.TARGETS[path.name.partition("-")[0]](path.read_bytes())
    print(f"{path}: no error")


def fuzz(name: str, seed: int, seconds: float, time_limit: float) -> bool:
    """Fuzz a target in a child process; return whether it found nothing."""
    input_file = FINDINGS / f"input-{name}-{os.getpid()}"
    command = [sys.executable, "-m", "fuzz", "--target", name, "--seed", str(seed)]
    command += ["--seconds", str(seconds), "--time-limit", str(time_limit), "--inside"]
    process = subprocess.Popen(command, cwd=TESTS)
    try:
        code = process.wait(seconds + 60 + 2 * time_limit)
    except subprocess.TimeoutExpired:
        code = 1
    finally:
        process.kill()
        process.wait()
    if code:
        report(name, code, last_input(input_file) if input_file.exists() else b"")
    input_file.unlink(missing_ok=True)
    return code == 0


def report(name: str, code: int, data: bytes) -> None:
    """Write the input of a finding to a file, and print how to replay it."""
    path = FINDINGS / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    print(f"FOUND by {name} (exit code {code}): {data.hex(' ', 8)}")
    print(f"again: make fuzz ARGS='--replay {path}'", flush=True)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument(
        "--target", choices=(*NAMES, FAULTY), action="append", help="all by default"
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input")
    parser.add_argument(
        "--time-limit", type=float, default=20, help="seconds after which an input hangs"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.target or NAMES
    if options.replay:
        replay(options.replay, options.time_limit)
        return 0
    FINDINGS.mkdir(parents=True, exist_ok=True)
    if options.inside:
        run_target(names[0], options.seed, options.seconds, options.time_limit)
        return 0
    print(f"seed {options.seed}", flush=True)
    share = options.seconds / len(names)
    well = [fuzz(name, options.seed, share, options.time_limit) for name in names]
    print(f"{sum(well)} of {len(well)} targets without a finding", flush=True)
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
