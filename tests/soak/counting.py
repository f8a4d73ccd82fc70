"""Count the resources of a process: memory, objects, descriptors, threads, MPI handles."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from collections import Counter
from typing import NamedTuple

PATIENCE = 3.0
"""Seconds until threads must have ended and descriptors must be closed."""
OF_MPI = ("requests", "communicators", "sends", "receives")


class Counts(NamedTuple):
    """The counts at one time.

    Attributes
    ----------
    descriptors, threads : int
        Of the process, those of the MPI included.
    blocks : int
        Of memory, that Python's objects lie in.
    heap : int
        Bytes in use that came from malloc; unlike resident memory it knows no fragmentation.
    objects : dict of str to int
        Instances of bsbpool's classes that the garbage collector knows, by class.
    mpi : dict of str to int
        Requests and communicators that are out; sends and receives that were started. Empty
        without the counting library.
    """

    descriptors: int
    threads: int
    blocks: int
    heap: int
    objects: dict[str, int]
    mpi: dict[str, int]


def resident() -> int:
    """Return the memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def count() -> Counts:
    """Count, after a garbage collection."""
    gc.collect()
    return Counts(
        descriptors=len(os.listdir("/proc/self/fd")),
        threads=len(os.listdir("/proc/self/task")),
        blocks=sys.getallocatedblocks(),
        heap=_heap(),
        objects=_objects(),
        mpi=_handles(),
    )


def count_settled(like: Counts) -> Counts:
    """Count when there are no more threads and descriptors than before, or after a time limit."""
    until = time.monotonic() + PATIENCE
    while True:
        now = count()
        more = now.threads > like.threads or now.descriptors > like.descriptors
        if not more or time.monotonic() > until:
            return now
        time.sleep(0.01)


class _Mallinfo(ctypes.Structure):
    """The struct that glibc's `mallinfo2` returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd",
            "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def _heap() -> int:
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # another C library
        return 0
    ask.restype = _Mallinfo
    report = ask()
    return int(report.uordblks + report.hblkhd)


def _objects() -> dict[str, int]:
    kinds = Counter(type(thing) for thing in gc.get_objects())
    return {
        f"{kind.__module__}.{kind.__qualname__}": n
        for kind, n in sorted(kinds.items(), key=repr)
        if str(kind.__module__).partition(".")[0] == "bsbpool"
    }


def _handles() -> dict[str, int]:
    try:
        ask = ctypes.CDLL(None).pmpi_count  # in the preloaded library
    except AttributeError:
        return {}
    ask.restype = ctypes.c_longlong
    return {name: ask(name.encode()) for name in OF_MPI}
