"""Checks of this machine."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

from bsbpool.diagnostics.findings import Finding

SHARED_MEMORY = "/dev/shm"
ENOUGH_BYTES = 16 << 20
"""The least free space that MPI libraries and bsbpool should find in SHARED_MEMORY."""


def shared_memory_fault(folder: str = SHARED_MEMORY) -> str:
    """Return why processes cannot share memory in a folder; an empty text if they can."""
    path = os.path.join(folder, f"bsbpool-doctor-{os.getpid()}-{os.urandom(8).hex()}")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, mmap.PAGESIZE)
            with mmap.mmap(file, mmap.PAGESIZE) as memory:
                memory[0] = 1
        finally:
            os.close(file)
            with suppress(OSError):
                os.unlink(path)
        status = os.statvfs(folder)
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    free = status.f_bavail * status.f_frsize
    if free < ENOUGH_BYTES:
        return f"only {free >> 10} KiB are free"
    return ""


def check_shared_memory(fault: str, host: str) -> list[Finding]:
    """Return what a fault of the shared memory of a host means."""
    if not fault:
        return []
    return [
        Finding(
            "no-shared-memory",
            f"{SHARED_MEMORY} of {host} cannot be used: {fault}. Ranks of the host cannot wake "
            "each other and poll instead, large data is copied for each rank, and MPI may be slow "
            "or fail",
            f"Make {SHARED_MEMORY} a writable tmpfs: `mount -t tmpfs -o mode=1777 tmpfs "
            f"{SHARED_MEMORY}`; with Docker `--shm-size=1g --ipc=host`; with Apptainer `--bind "
            f"{SHARED_MEMORY}`. If it is full, delete the files that ended programs left there.",
        )
    ]
