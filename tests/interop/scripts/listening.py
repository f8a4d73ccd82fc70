"""Listens to the pools of a network that is compiled."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import scenes
from scenes import comm, folder, rank

import bsb.options
import journal
import tissue
from bsb import Scaffold

number = 0


def network(**changes: Any) -> Scaffold:
    """Make a network that is quickly built: only cells."""
    global number
    number += 1
    tree = {"connectivity": {}, "after_connectivity": {}, **changes}
    return Scaffold(tissue.configuration(folder / f"{number}.hdf5", **tree))


class Recorder:
    """A listener that keeps what it is reported, and when it is entered and left."""

    def __init__(self, keep: Any = None) -> None:
        self.events: list[Any] = []
        self.visits: list[str] = []
        self.keep = keep

    def __enter__(self) -> Recorder:
        self.visits.append("enter")
        return self

    def __exit__(self, kind: Any, *error: Any) -> None:
        self.visits.append(f"exit {getattr(kind, '__name__', None)}")

    def __call__(self, event: Any) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        job = getattr(event, "job", None)
        old = getattr(event, "old_status", None)
        self.events.append(
            {
                "reason": event.reason.name,
                "phase": event.workflow.phase,
                "job": job and event.jobs.index(job),
                "name": job and job.name,
                "old": old and old.name,
                "status": event.status and event.status.name,
                "in_main_thread": in_main,
            }
        )


def everything() -> Any:
    first, second, removed = Recorder(), Recorder(), Recorder()
    scaffold = Scaffold(tissue.configuration(folder / "everything.hdf5"))
    scaffold.register_listener(first)
    scaffold.register_listener(removed)
    scaffold.register_listener(second, max_wait=5)
    scaffold.remove_listener(removed)
    scaffold.compile()
    journal.take()
    return {
        "events": first.events,
        "visits": first.visits,
        "same": first.events == second.events,
        "removed": len(removed.events),
    }


def pace() -> Any:
    """Two listeners with a pace each: the shorter one counts."""
    waited, pings = [], []

    def listen(event: Any) -> None:
        if event.reason.name == "MAX_TIMEOUT_PING":
            pings.append(event.status.name)

    scaffold = network()
    scaffold.register_listener(listen, max_wait=30)
    scaffold.register_listener(lambda event: None, max_wait=0.2)
    with scaffold.create_job_pool() as pool:
        waited.append(pool._max_wait)
        if pool.is_main():
            pool.queue(_sleep, (0.7,))
        pool.execute()
    return {"pings": pings, "max_wait": waited}


def _sleep(scaffold: Any, seconds: float) -> None:
    time.sleep(seconds)


def default() -> None:
    with _marked("default"):
        network().compile()


def quiet() -> None:
    bsb.options.quiet = True
    with _marked("quiet"):
        network().compile()
    bsb.options.quiet = False


def debugging() -> int:
    bsb.options.debug_pool = True
    scaffold = network()
    scaffold.register_listener(lambda event: None)
    scaffold.compile()
    bsb.options.debug_pool = False
    return len(scaffold.get_placement_set("soma"))


@contextlib.contextmanager
def _marked(name: str) -> Iterator[None]:
    """Print where the output of a scene begins and ends."""
    comm.Barrier()
    if rank == 0:
        print(f"<<{name}>>", flush=True)
    yield
    comm.Barrier()
    if rank == 0:
        print(f"<</{name}>>", flush=True)


def in_a_terminal() -> str:
    """Compile with a terminal as standard output; return what it got."""
    with _terminal() as shown:
        network().compile()
    return b"".join(shown).decode(errors="replace")


@contextlib.contextmanager
def _terminal() -> Iterator[list[bytes]]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    shown: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # when the other end is closed
            while data := os.read(master, 4096):
                shown.append(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    os.dup2(slave, 1), os.dup2(slave, 2)
    os.close(slave)
    try:
        yield shown
    finally:
        sys.stdout.flush()
        os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        reader.join(5)


scenes.play(everything, pace, default, quiet, debugging, in_a_terminal)
