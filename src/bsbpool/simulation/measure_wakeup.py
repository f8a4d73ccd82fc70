"""Measure what it takes to wake a rank of this node."""

from __future__ import annotations

import mmap
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from bsbpool._core.comm.wakeup import AVAILABLE, BYTES, Wakeup

N = 400
"""How often the two processes wake each other."""
AT = 2 * BYTES
"""Where the numbers are that they exchange."""
PAUSE = 0.0005
"""A pause in seconds after which the other process sleeps."""
LONGEST = 0.05
"""A notification that comes just before the wait has no effect; the wait ends after this time."""


def measure_wakeup() -> tuple[float, float, float]:
    """Return how long a wakeup takes, and the CPU time for notifying and for sleeping, in seconds.

    Two processes wake each other in turns. Where there are no wakeups, the first is -1 ns: a rank
    finds a message when it polls.
    """
    if not AVAILABLE:
        return -1e-9, 0.0, 0.0
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(AT + 24)
        command = [sys.executable, "-m", "bsbpool.simulation.measure_wakeup", file.name]
        other = subprocess.Popen(command)
        try:
            return _measure(file.name)
        finally:
            other.terminate()
            other.wait()


def _open(name: str, rank: int) -> tuple[mmap.mmap, Wakeup]:
    with open(name, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    return memory, Wakeup(memory, (0, 1), rank, 2)


def _turn(memory: mmap.mmap, number: int, mine: int) -> None:
    struct.pack_into("q", memory, AT + 8 * mine, number)


def _await(memory: mmap.mmap, wakeup: Wakeup, number: int, mine: int) -> None:
    while struct.unpack_from("q", memory, AT + 8 * (1 - mine))[0] != number:
        wakeup.wait(LONGEST)


def _measure(name: str) -> tuple[float, float, float]:
    memory, wakeup = _open(name, 0)
    took, notify, cpu = [], [], []
    for number in range(1, N + 1):
        time.sleep(PAUSE)
        before = time.process_time()
        _turn(memory, number, 0)
        wakeup.notify_rank(1)
        notified = time.process_time()
        _await(memory, wakeup, number, 0)
        took.append(time.perf_counter() - struct.unpack_from("d", memory, AT + 16)[0])
        cpu.append(time.process_time() - notified)
        notify.append(notified - before)
    notifying = statistics.median(notify)
    return max(statistics.median(took) - notifying, 0.0), notifying, statistics.median(cpu)


def _reply(name: str) -> None:
    memory, wakeup = _open(name, 1)
    for number in range(1, N + 1):
        _await(memory, wakeup, number, 1)
        time.sleep(PAUSE)
        struct.pack_into("d", memory, AT + 16, time.perf_counter())
        _turn(memory, number, 1)
        wakeup.notify_rank(0)


if __name__ == "__main__":
    _reply(sys.argv[1])
