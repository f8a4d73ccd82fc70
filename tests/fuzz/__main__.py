"""Try hostile bytes: each target in a process of its own, for its share of the time.

    python -m fuzz --seconds 600
    python -m fuzz --target plains --seed 7
    python -m fuzz --replay build/fuzz/plains-1a2b3c4d

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
KEPT = TESTS.parent / "build" / "fuzz"
NAMES = ("frames", "plains", "worker", "main", "pool")
PLANTED = "planted"  # a target with a defect, for tests of the fuzzer


class Tried:
    """Keeps each input where it outlives the process, before the target has it."""

    def __init__(self, target: Target, path: Path, patience: float) -> None:
        self._target = target
        with path.open("w+b") as file:
            file.truncate(8 + LONGEST)
            self._memory = mmap.mmap(file.fileno(), 0)
        self._patience = patience
        self._looked = 0.0

    def __call__(self, data: bytes) -> None:
        self._memory[:8] = len(data).to_bytes(8, "little")
        self._memory[8 : 8 + len(data)] = data
        now = time.monotonic()
        if now - self._looked > 1:
            self._looked = now
            faulthandler.dump_traceback_later(self._patience + 1, exit=True)
        self._target(data)


def read_tried(path: Path) -> bytes:
    """Return the input that was tried last."""
    data = path.read_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def try_target(name: str, seed: int, seconds: float, patience: float) -> None:
    """In a process of its own: look for inputs."""
    from . import targets

    faulthandler.enable()
    target = Tried(targets.TARGETS[name], KEPT / f"tried-{name}-{os.getppid()}", patience)
    if has_atheris():
        explore_with_atheris(target, targets.seeds(name), seed, seconds, KEPT)
    else:
        print(f"{name}: {explore(target, targets.seeds(name), seed, seconds)}", flush=True)


def replay(path: Path, patience: float) -> None:
    """Try an input of a file once more."""
    from . import targets

    faulthandler.enable()
    faulthandler.dump_traceback_later(patience, exit=True)
    targets.TARGETS[path.name.partition("-")[0]](path.read_bytes())
    print(f"{path}: nothing happens")


def fuzz(name: str, seed: int, seconds: float, patience: float) -> bool:
    """Fuzz a target in a process of its own; return whether all is well."""
    tried = KEPT / f"tried-{name}-{os.getpid()}"
    command = [sys.executable, "-m", "fuzz", "--target", name, "--seed", str(seed)]
    command += ["--seconds", str(seconds), "--patience", str(patience), "--inside"]
    process = subprocess.Popen(command, cwd=TESTS)
    try:
        code = process.wait(seconds + 60 + 2 * patience)
    except subprocess.TimeoutExpired:
        code = 1
    finally:
        process.kill()
        process.wait()
    if code:
        report(name, code, read_tried(tried) if tried.exists() else b"")
    tried.unlink(missing_ok=True)
    return code == 0


def report(name: str, code: int, data: bytes) -> None:
    """Keep a finding and say how to see it again."""
    path = KEPT / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    print(f"FOUND by {name} (exit code {code}): {data.hex(' ', 8)}")
    print(f"again: make fuzz ARGS='--replay {path}'", flush=True)


def main() -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument(
        "--target", choices=(*NAMES, PLANTED), action="append", help="all by default"
    )
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try a finding again")
    parser.add_argument(
        "--patience", type=float, default=20, help="seconds after which an input hangs"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.target or NAMES
    if options.replay:
        replay(options.replay, options.patience)
        return 0
    KEPT.mkdir(parents=True, exist_ok=True)
    if options.inside:
        try_target(names[0], options.seed, options.seconds, options.patience)
        return 0
    print(f"seed {options.seed}", flush=True)
    share = options.seconds / len(names)
    well = [fuzz(name, options.seed, share, options.patience) for name in names]
    print(f"{sum(well)} of {len(well)} targets without a finding", flush=True)
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
