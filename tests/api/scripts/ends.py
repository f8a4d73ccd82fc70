"""A run on several ranks that ends in one of many ways; each rank reports when it has left.

mpiexec -n 3 python ends.py HOW [stuck]
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any

from bsbpool import JobStatus, create_job_pool, services

HOW = sys.argv[1]
STUCK = "stuck" in sys.argv
"""Whether the long job cannot be interrupted, like one that does not return to Python."""
LONG = 30.0
"""Seconds of a job that no end may wait for."""
BUSY = {"fail_fast", "listener", "sigint", "sigterm", "timeout"}
"""Ways to end in which a rank is inside a long job."""


def say(*words: Any) -> None:
    """Print a line in one write, so that the lines of several ranks do not mix."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def cause(what: str = "cause") -> None:
    """Report the time of the event that ends the run."""
    say(what, time.time())


def wait_long(owner: Any) -> None:
    say("waits")
    if STUCK:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    time.sleep(LONG)


def do(owner: Any, how: str) -> None:
    """End the run in the given way."""
    time.sleep(0.2)  # the long job has begun elsewhere
    cause()
    if how == "sys_exit":
        sys.exit(5)
    if how == "keyboard_interrupt":
        raise KeyboardInterrupt
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "stack":
        sys.setrecursionlimit(10**9)
        descend()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(4)
    raise ValueError(how)


def descend() -> Any:
    """Overflow the stack."""
    return sorted([1, 2], key=lambda _: descend())


def listener(progress: Any) -> None:
    if getattr(progress, "status", None) is JobStatus.FAILED:
        raise InterruptedError("by the listener")


def interrupt(number: int) -> None:
    cause()
    os.kill(os.getpid(), number)


def run() -> None:
    """Run a pool on all ranks."""
    me = services.MPI.get_rank()
    with create_job_pool(quiet=True, fail_fast=HOW == "fail_fast") as pool:
        if HOW == "between" and pool.is_main():
            pool.submit(wait_long)
            cause()
            raise ZeroDivisionError
        if HOW == "leaves" and me == 1:
            cause()
            raise ZeroDivisionError
        if pool.is_main():
            if HOW in BUSY:
                pool.submit(wait_long)
            if HOW not in ("sigint", "sigterm", "timeout"):
                pool.queue(do, (HOW,), submitter="the culprit")
        if pool.is_main() and HOW == "listener":
            pool.add_listener(listener)
        if HOW == "sigterm_all" or (HOW in ("sigint", "sigterm") and pool.is_main()):
            number = signal.SIGINT if HOW == "sigint" else signal.SIGTERM
            threading.Timer(0.7, interrupt, (number,)).start()
        if HOW == "timeout" and pool.is_main():
            threading.Timer(0.7, cause).start()
        if HOW == "sigterm_all" and pool.is_main():
            pool.submit(wait_long)
        pool.execute(timeout=0.7 if HOW == "timeout" else None)


try:
    run()
finally:
    kind = sys.exc_info()[0]
    say("out", services.MPI.get_rank(), time.time(), kind.__name__ if kind else None)
    atexit.register(say, "exits", services.MPI.get_rank(), time.time())
