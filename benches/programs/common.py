"""Shared parts of the programs: options, clocks, jobs, and the line of figures."""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any


def options(**defaults: Any) -> argparse.Namespace:
    """Parse the command line; the defaults give the names and types of the options."""
    parser = argparse.ArgumentParser()
    for name, value in defaults.items():
        if isinstance(value, bool):
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value)
    return parser.parse_args()


def say(**figures: Any) -> None:
    """Print the figures of this run."""
    print(json.dumps(figures), flush=True)


def noop(owner: Any = None, number: int = 0) -> int:
    """Return the number, which the caller checks."""
    return number


def spin(microseconds: float) -> None:
    """Keep this core busy for some time."""
    end = time.perf_counter() + microseconds * 1e-6
    while time.perf_counter() < end:
        pass


def spinning(owner: Any, number: int, microseconds: float) -> int:
    """Keep this core busy, then return the number."""
    spin(microseconds)
    return number


def task(owner: Any, payload: bytes, microseconds: float) -> bytes:
    """Run a task of a workload."""
    if microseconds:
        spin(microseconds)
    return payload


class Meter:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu": time.process_time() - self._cpu,
        }


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Return the peak memory of this process in bytes."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
