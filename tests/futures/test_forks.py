"""Children that jobs, calls and programs fork end like other processes, and do not use MPI."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.launch import mpirun

LIMIT = 120.0
SCRIPT = Path(__file__).parent / "forking.py"
CHILDREN = {"job": 3, "block": 7, "program": 7}


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("how", CHILDREN)
def test_forked_children_end_like_other_processes(how, ranks) -> None:
    runner = ["-m", "bsbpool.run"] if how == "program" else []
    done = mpirun(ranks, *runner, SCRIPT, how, timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    assert f"children: {CHILDREN[how]}\n" in done.stdout, done.stdout
    assert "bsbpool: rank" not in done.stdout  # a child that crashes is not reported as its rank


WHILE_IMPORTING = """
import os, signal, sys, threading, time
from bsbpool import create_job_pool
from bsbpool.serialization import dumps

begun = threading.Event()

class Slowly:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "cloudpickle":
            begun.set()
            time.sleep(0.5)

with create_job_pool(quiet=True) as pool:
    pool.execute()
assert "cloudpickle" not in sys.modules
sys.meta_path.insert(0, Slowly)
threading.Thread(target=lambda: dumps(lambda: 1)).start()
begun.wait()
if (pid := os.fork()) == 0:
    signal.alarm(20)  # ends a child that hangs
    dumps(lambda: 2)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


def test_a_child_can_pickle_by_value_if_forked_during_an_import() -> None:
    done = mpirun(1, "-c", WHILE_IMPORTING, timeout=LIMIT)
    assert done.returncode == 0, done.stdout
