"""Forks children from jobs, calls and programs, and prints how they ended.

    python forking.py job | block | program
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from bsbpool import create_job_pool
from bsbpool.futures import PoolExecutor

FORK: Any = multiprocessing.get_context("fork")
EXPECTED = {
    "handler": True,
    "at birth": -15,
    "terminated": [-15] * 5,
    "exits": [0, 3],
    "raises": 1,
    "aborts": -6,
    "pool": [1, 2],
    "own pools": (5, 3, 4),
    "program": (True, -15),
}


def end_of(child: Any, *args: Any) -> int:
    """Return how a child ends that calls something, and nothing more."""
    pid = os.fork()
    if pid == 0:
        child(*args)
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def has_default_handler() -> None:
    os._exit(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)


def kill_at_birth() -> None:
    # Said of the thread: others fork as well, and a global of the script would travel to workers.
    if getattr(threading.current_thread(), "kill_at_birth", False):
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    os.register_at_fork(after_in_child=kill_at_birth)  # runs before that of the pool


def end_of_one_that_is_killed_at_birth() -> int:
    os.register_at_fork(after_in_child=kill_at_birth)  # for workers under bsbpool.run
    thread: Any = threading.current_thread()
    thread.kill_at_birth = True
    try:
        return end_of(int)
    finally:
        thread.kill_at_birth = False


def end_of_one_that_is_terminated() -> int | None:
    process = FORK.Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(20)
    return process.exitcode


def fail() -> None:
    os.close(2)
    raise KeyError


def use_a_pool() -> list[int]:
    with FORK.Pool(2) as pool:
        return pool.map(abs, [-1, -2])


def use_own_pools() -> tuple[int, int, int]:
    """Open pools in a child, where jobs may fail as everywhere."""
    with create_job_pool() as pool:
        job = pool.queue(lambda owner: 5)
        pool.execute()
        result = job.result
    executor = PoolExecutor()
    code = executor.submit(sys.exit, 4).exception().code
    return result, executor.submit(abs, -3).result(), code


def have_own_pools_used() -> tuple[int, int, int]:
    with FORK.Pool(1) as pool:
        return pool.apply(use_own_pools)


def end_of_a_program() -> tuple[bool, int]:
    code = "import signal, time; print(signal.getsignal(15) == signal.SIG_DFL, flush=True)"
    command = [sys.executable, "-S", "-c", code + "; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={}) as process:
        said = process.stdout.readline().strip()
        process.terminate()
        return said == "True", process.wait(20)


def ends(n: int = 0) -> dict[str, Any]:
    """Fork all kinds of children."""
    return {
        "handler": end_of(has_default_handler) == 1,
        "at birth": end_of_one_that_is_killed_at_birth(),
        "terminated": [end_of_one_that_is_terminated() for _ in range(5)],
        "exits": [end_of(sys.exit), end_of(sys.exit, 3)],
        "raises": end_of(fail),
        "aborts": end_of(os.abort),
        "pool": use_a_pool(),
        "own pools": have_own_pools_used(),
        "program": end_of_a_program(),
    }


def ends_in_a_job(owner: Any) -> dict[str, Any]:
    return ends()


def ends_beside_ranks() -> dict[str, Any]:
    """Return the same but for children that would finalize MPI: they have no job to end in."""
    return EXPECTED | {
        "handler": end_of(has_default_handler) == 1,
        "at birth": end_of_one_that_is_killed_at_birth(),
        "terminated": [end_of_one_that_is_terminated() for _ in range(5)],
        "aborts": end_of(os.abort),
        "own pools": have_own_pools_used(),
    }


def in_jobs() -> list[Any]:
    with create_job_pool() as pool:
        jobs = [pool.queue(ends_in_a_job) for _ in range(3)]
        pool.execute()
        return [job.result for job in jobs] if pool.is_main() else []


def in_calls(executor: PoolExecutor) -> list[Any]:
    futures = [executor.submit(ends) for _ in range(3)]
    here = ends_beside_ranks()  # while calls run
    mapped = executor.map(ends, range(3), chunksize=1)
    return [here, *(future.result() for future in futures), *mapped]


def main(how: str) -> None:
    if how == "job":
        found = in_jobs()
    elif how == "block":
        with PoolExecutor() as executor:
            found = in_calls(executor) if executor is not None else []
    else:
        executor = PoolExecutor()
        found = in_calls(executor)
        if (pid := os.fork()) == 0:
            sys.exit(7)  # leaves the program, not the ranks
        found.append(EXPECTED | {"exits": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})
        assert found.pop()["exits"] == 7
        assert executor.submit(abs, -1).result() == 1
    for one in found:
        assert one == EXPECTED, one
    print("children:", len(found))


if __name__ == "__main__":
    main(sys.argv[1])
