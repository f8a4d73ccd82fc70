"""Programs under `bsbpool.run` end in the interpreter's order, also with open executors."""

from __future__ import annotations

import pytest

from helpers.launch import mpirun

LIMIT = 90.0
EXPECTED_OUTPUT = ["end", "threading exit 1", "thread 2", "exit"]
PROGRAM = """
import asyncio
import atexit
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import dask
import joblib

from bsbpool.futures import PoolExecutor


def wait_and_call():
    threading.main_thread().join()
    print("thread", executor.submit(abs, -2).result())


def call():
    print("threading exit", executor.submit(abs, -1).result())


if __name__ == "__main__":
    executor = PoolExecutor()
    threads, processes = ThreadPoolExecutor(1), ProcessPoolExecutor(1)
    loop = asyncio.new_event_loop()
    assert threads.submit(abs, -1).result() == processes.submit(abs, -1).result() == 1
    assert joblib.Parallel(2)(joblib.delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
    assert dask.delayed(abs)(-1).compute(scheduler="threads") == 1
    assert loop.run_until_complete(loop.run_in_executor(None, abs, -1)) == 1
    threading.Thread(target=wait_and_call).start()
    atexit.register(print, "exit")
    threading._register_atexit(call)
    print("end")
"""


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 3])
def test_open_executors_do_not_block_the_end_of_a_program(tmp_path, ranks) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = mpirun(ranks, "-m", "bsbpool.run", program, timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    output = [line for line in done.stdout.splitlines() if line in EXPECTED_OUTPUT]
    assert output == EXPECTED_OUTPUT, done.stdout


INTERRUPTED = """\
import signal, sys, threading, time
from pathlib import Path
from bsbpool.futures import PoolExecutor

def wait(path):
    while not path.exists():
        time.sleep(0.01)

def interrupt(path):
    threading.main_thread().join()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    time.sleep(0.2)
    path.touch()

path = Path(sys.argv[1])
future = PoolExecutor().submit(wait, path)
while not future.running():
    time.sleep(0.01)
threading.Thread(target=interrupt, args=[path], daemon=True).start()
threading.Thread(target=future.exception).start()
"""
"""The main thread is interrupted while it joins a thread that waits for a call."""


@pytest.mark.limit(LIMIT + 30)
def test_ctrl_c_while_threads_are_joined_ends_all_ranks(tmp_path) -> None:
    done = mpirun(2, "-m", "bsbpool.run", "-c", INTERRUPTED, tmp_path / "go", timeout=LIMIT)
    assert done.returncode != 0 and "KeyboardInterrupt" in done.stdout, done.stdout
