"""The lock around files when a rank dies that has it, and other nodes wait for it.

The ranks pretend to be on two nodes, 0 and 2, and 1 and 3. A rank of the dead one's node, which
does not use the lock, gives it back for its node.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from mpi4py import MPI

from bsbpool import JobStatus, create_job_pool
from bsbpool.locking import LockController, sync
from chaos.test_deaths import handled, statuses, survives

RANK = MPI.COMM_WORLD.Get_rank()
_locks: list[LockController] = []


def open_lock() -> None:
    os.environ["BSBPOOL_TEST_NODES"] = "2"
    _locks.append(sync())


def take_part(owner: Any, folder: str, dies: int, write: bool) -> float:
    """Die with the lock on one rank; wait for it on ranks of the other node."""
    lock = _locks[0]
    Path(folder, str(RANK)).touch()
    while len(list(Path(folder).iterdir())) < 3:  # all workers have a job
        time.sleep(0.01)
    if dies == RANK:
        with lock.write() if write else lock.read():
            Path(folder, "has it").touch()
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGKILL)
    while not Path(folder, "has it").exists():
        time.sleep(0.01)
    if dies % 2 == RANK % 2:
        return 0.0
    begun = time.monotonic()
    with lock.write():
        return time.monotonic() - begun


def run_with_death(dies: int, write: bool) -> None:
    open_lock()
    with tempfile.TemporaryDirectory() as folder, create_job_pool(quiet=True) as pool:
        pool.add_listener(handled)
        jobs = [pool.submit(take_part, folder, dies, write) for _ in range(3)]
        pool.execute()
        if pool.is_main():
            waits = [job.result for job in jobs if job.status is JobStatus.SUCCESS]
            assert len(waits) == 2, statuses(*jobs)
            assert 0.2 < max(waits) < 10, waits


@survives(4, 1)
def test_main_gives_back_for_a_worker_of_its_node() -> None:
    run_with_death(dies=2, write=True)


@survives(4, 1)
def test_a_worker_gives_back_for_another_one() -> None:
    run_with_death(dies=1, write=True)


@survives(4, 1)
def test_a_dead_reader_does_not_keep_writers_waiting() -> None:
    run_with_death(dies=1, write=False)
