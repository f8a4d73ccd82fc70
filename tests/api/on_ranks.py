"""Run the body of a test on several ranks, each in its own process.

::

    @on_ranks(3)
    def test_something():      # this body runs on each of three ranks
        ...

pytest starts mpiexec and waits for it with a time limit, so a body that hangs or kills its
process only fails its test. All ranks must reach the end of the body.
"""

from __future__ import annotations

import faulthandler
import functools
import importlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from helpers.launch import TESTS, mpirun

LIMIT = 60.0
"""Seconds until a body counts as hanging."""
STACKS_BEFORE = 5.0
"""How long before that each rank prints where it hangs."""
ENDED = "== came to the end =="


def on_ranks(n: int, limit: float = LIMIT) -> Callable[[Callable[[], Any]], Callable[[], None]]:
    """Make a test whose body runs on `n` ranks (1: in a process of its own without MPI's mpiexec).

    Parameters
    ----------
    n : int
        How many ranks.
    limit : float
        Seconds in which all of them must end.
    """

    def decorate(body: Callable[[], Any]) -> Callable[[], None]:
        @functools.wraps(body)
        def launch() -> None:
            done = launch_body(n, body, limit)
            assert done.returncode == 0, done.stdout
            assert done.stdout.count(ENDED) == n, done.stdout

        launch.body = body  # type: ignore[attr-defined]
        return pytest.mark.launches(pytest.mark.limit(limit + 30)(launch))

    return decorate


def launch_body(
    n: int, body: Callable[[], Any], limit: float = LIMIT
) -> subprocess.CompletedProcess[str]:
    """Run a function of a test module on `n` ranks; fail when they do not end in time."""
    where = (body.__module__, body.__qualname__, str(limit - STACKS_BEFORE))
    try:
        return mpirun(n, "-m", "api.on_ranks", *where, cwd=TESTS, timeout=limit)
    except subprocess.TimeoutExpired as late:
        return pytest.fail(f"no end after {limit:g} s:\n{late.output}", pytrace=False)


def main(module: str, name: str, seconds: str) -> None:
    """Run a body on this rank; take all ranks down when it fails here."""
    faulthandler.dump_traceback_later(float(seconds))
    try:
        found = getattr(importlib.import_module(module), name)
        getattr(found, "body", found)()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        if "mpi4py.MPI" in sys.modules:
            world = sys.modules["mpi4py.MPI"].COMM_WORLD
            # mpiexec may drop what it has not passed on yet; and that of Open MPI now and then
            # hangs for ever when a rank has died and several others abort in the same moment.
            time.sleep(0.5 * (1 + world.rank))
            world.Abort(1)
        os._exit(1)
    print(ENDED, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
