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
    "at start": -15,
    "terminated": [-15] * 5,
    "exits": [0, 3],
    "raises": 1,
    "aborts": -6,
    "pool": [1, 2],
    "own pools": (5, 3, 4),
    "program": (True, -15),
}


def exit_code_of(child: Any, *args: Any) -> int:
    """Return the exit code of a child that only calls a function."""
    pid = os.fork()
    if pid == 0:
        child(*args)
        os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def has_default_handler() -> None:
    os._exit(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)


def kill_at_start() -> None:
    # An attribute of the thread, because other threads fork as well, and a global variable of the
    # script would be sent to workers.
    if getattr(threading.current_thread(), "kill_at_start", False):
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    os.register_at_fork(after_in_child=kill_at_start)  # runs before the function of the pool


def exit_code_if_killed_at_start() -> int:
    os.register_at_fork(after_in_child=kill_at_start)  # for workers under bsbpool.run
    thread: Any = threading.current_thread()
    thread.kill_at_start = True
    try:
        return exit_code_of(int)
    finally:
        thread.kill_at_start = False


def exit_code_if_terminated() -> int | None:
    process = FORK.Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(20)
    # `Process.start` in another thread may have called waitpid for this child, without having
    # stored the exit code yet.
    until = time.monotonic() + 20
    while process.exitcode is None and time.monotonic() < until:
        time.sleep(0.001)
    return process.exitcode


def fail() -> None:
    os.close(2)
    raise KeyError


def use_multiprocessing_pool() -> list[int]:
    with FORK.Pool(2) as pool:
        return pool.map(abs, [-1, -2])


def use_own_pools() -> tuple[int, int, int]:
    """Use pools in a child; also run a call that raises SystemExit."""
    with create_job_pool() as pool:
        job = pool.queue(lambda owner: 5)
        pool.execute()
        result = job.result
    executor = PoolExecutor()
    code = executor.submit(sys.exit, 4).exception().code
    return result, executor.submit(abs, -3).result(), code


def use_own_pools_in_child() -> tuple[int, int, int]:
    with FORK.Pool(1) as pool:
        return pool.apply(use_own_pools)


def exit_code_of_program() -> tuple[bool, int]:
    code = "import signal, time; print(signal.getsignal(15) == signal.SIG_DFL, flush=True)"
    command = [sys.executable, "-S", "-c", code + "; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={}) as process:
        output = process.stdout.readline().strip()
        process.terminate()
        return output == "True", process.wait(20)


def ends(n: int = 0) -> dict[str, Any]:
    """Fork children of all kinds; return how they ended."""
    return {
        "handler": exit_code_of(has_default_handler) == 1,
        "at start": exit_code_if_killed_at_start(),
        "terminated": [exit_code_if_terminated() for _ in range(5)],
        "exits": [exit_code_of(sys.exit), exit_code_of(sys.exit, 3)],
        "raises": exit_code_of(fail),
        "aborts": exit_code_of(os.abort),
        "pool": use_multiprocessing_pool(),
        "own pools": use_own_pools_in_child(),
        "program": exit_code_of_program(),
    }


def fork_children_in_job(owner: Any) -> dict[str, Any]:
    return ends()


def fork_children_on_main() -> dict[str, Any]:
    """Fork only children that cannot finalize the MPI of the main rank."""
    return EXPECTED | {
        "handler": exit_code_of(has_default_handler) == 1,
        "at start": exit_code_if_killed_at_start(),
        "terminated": [exit_code_if_terminated() for _ in range(5)],
        "aborts": exit_code_of(os.abort),
        "own pools": use_own_pools_in_child(),
    }


def run_in_jobs() -> list[Any]:
    with create_job_pool() as pool:
        jobs = [pool.queue(fork_children_in_job) for _ in range(3)]
        pool.execute()
        return [job.result for job in jobs] if pool.is_main() else []


def run_in_calls(executor: PoolExecutor) -> list[Any]:
    futures = [executor.submit(ends) for _ in range(3)]
    here = fork_children_on_main()  # while calls run
    mapped = executor.map(ends, range(3), chunksize=1)
    return [here, *(future.result() for future in futures), *mapped]


def main(how: str) -> None:
    if how == "job":
        found = run_in_jobs()
    elif how == "block":
        with PoolExecutor() as executor:
            found = run_in_calls(executor) if executor is not None else []
    else:
        executor = PoolExecutor()
        found = run_in_calls(executor)
        if (pid := os.fork()) == 0:
            sys.exit(7)  # ends the child, not the ranks
        found.append(EXPECTED | {"exits": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})
        assert found.pop()["exits"] == 7
        assert executor.submit(abs, -1).result() == 1
    for one in found:
        assert one == EXPECTED, one
    # One write: the lines of ranks that end together are not mixed.
    sys.stdout.write(f"children: {len(found)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
