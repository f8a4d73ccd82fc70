"""The lock on ranks, those of one node and of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.launch import mpirun

PROGRAM = Path(__file__).with_name("ranks.py")


@pytest.mark.parametrize(("ranks", "nodes"), [(2, 1), (3, 1), (4, 2), (3, 3)])
def test_no_update_is_lost_and_no_reader_is_beside_a_writer(ranks, nodes, tmp_path) -> None:
    (tmp_path / "counters").write_bytes(bytes(64))
    env = {"BSBPOOL_TEST_NODES": str(nodes)}
    done = mpirun(ranks, PROGRAM, "2000" if nodes == 1 else "300", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout
    assert "writes, none lost" in done.stdout


SINGLE_WRITE = """
from mpi4py import MPI
from bsbpool.locking import sync

rank = MPI.COMM_WORLD.Get_rank()
written = []
with sync(master=1) as lock:
    with lock.single_write() as fence:
        fence.guard()
        written.append(rank)
        fence.share({"from": rank})
    assert fence.collect() == {"from": 1}
    assert written == ([1] if rank == 1 else [])

    class Handle:
        def __enter__(self):
            raise AssertionError("the block enters the lock, not the handle")
        __exit__ = __enter__

    handle = Handle()
    with lock.single_write(handle, rank=2) as got:
        assert got is (handle if rank == 2 else None)
    assert (lock.master, lock.rank, lock.closed) == (1, rank, False)
assert lock.closed
try:
    lock.read().__enter__()
except RuntimeError as error:
    assert "closed" in str(error)
else:
    raise AssertionError("a closed lock was granted")
MPI.COMM_WORLD.Barrier()
if rank == 0:
    print("all right")
"""


def test_single_write(tmp_path) -> None:
    (tmp_path / "program.py").write_text(SINGLE_WRITE)
    done = mpirun(3, tmp_path / "program.py")
    assert done.returncode == 0, done.stdout
    assert "all right" in done.stdout


FORKED = """
import os, signal, sys, time, warnings
from bsbpool._core.locking.node_lock import HEAD_BYTES, SLOT_BYTES, NodeLock
import mmap

memory = mmap.mmap(-1, HEAD_BYTES + 3 * SLOT_BYTES)
how, write = sys.argv[1], sys.argv[2] == "write"


def child(slot, hold):
    read, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock = NodeLock(memory, slot, 3, os.getpid())
        if not lock.request(write):
            os.write(ready, b"w")
            lock.wait()
        os.write(ready, b"h")
        time.sleep(hold)
        lock.release()
        os._exit(0)
    assert os.read(read, 1) in (b"w", b"h")
    return pid


mine = NodeLock(memory, 0, 3, os.getpid())
if how == "holds":
    first = child(1, 60)
    os.kill(first, signal.SIGKILL)
    begun = time.monotonic()
    granted = mine.request(True)
    dead = [] if granted else mine.wait()
    assert dead == [1], dead
else:  # waits: it must not be granted after its death
    mine.request(True)
    first = child(1, 60)
    second = child(2, 0)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    mine.release()
    begun = time.monotonic()
    assert os.waitpid(second, 0)[1] == 0
    if not mine.request(True):
        mine.wait()
assert time.monotonic() - begun < 5
mine.release()
assert mine.counters() == (0, 0, 0, 0), mine.states()
print("passed on")
"""


@pytest.mark.parametrize("how", ["holds", "waits"])
@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_process_that_is_killed_does_not_keep_the_lock(how, mode, tmp_path) -> None:
    (tmp_path / "program.py").write_text(FORKED)
    done = mpirun(1, tmp_path / "program.py", how, mode)
    assert done.returncode == 0, done.stdout
    assert "passed on" in done.stdout


INTERRUPTED = """
import os, signal, threading, time
from mpi4py import MPI
from bsbpool.locking import sync

comm = MPI.COMM_WORLD
lock = sync(comm)
if comm.Get_rank() == 0:
    with lock.write():
        comm.Barrier()
        time.sleep(1)
else:
    comm.Barrier()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    try:
        with lock.read():
            raise AssertionError("was granted beside a writer")
    except KeyboardInterrupt:
        assert time.monotonic() - begun < LIMIT, time.monotonic() - begun
comm.Barrier()
with lock.write():
    pass
assert "free" in repr(lock) or comm.Get_size() > 1
comm.Barrier()
lock.close()
print("ended")
"""


@pytest.mark.parametrize(("nodes", "limit"), [(1, 0.8), (2, 5.0)])
def test_an_interrupt_ends_a_wait(nodes, limit, tmp_path) -> None:
    """On another node, the rank must have had its turn before it can leave the queue."""
    (tmp_path / "program.py").write_text(INTERRUPTED.replace("LIMIT", str(limit)))
    done = mpirun(2, tmp_path / "program.py", env={"BSBPOOL_TEST_NODES": str(nodes)})
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ended") == 2


OFTEN_INTERRUPTED = """
import random, signal, time
from mpi4py import MPI
from bsbpool.locking import sync

class Interrupted(Exception):
    pass

may_raise = 0

def handler(*_):
    global may_raise
    if may_raise:
        may_raise -= 1
        raise Interrupted

def use_until_interrupted():
    global may_raise
    may_raise = 2  # the second interrupt may come while the first one is handled
    try:
        signal.setitimer(signal.ITIMER_REAL, r.uniform(1e-5, 2e-3), 1e-3)
        while True:
            with lock.read():
                with lock.write(), lock.read():
                    pass
            with lock.write():
                pass
            with lock.read():
                pass
    except Interrupted:
        may_raise = 0

comm = MPI.COMM_WORLD
lock = sync(comm)
r = random.Random(comm.Get_rank())
signal.signal(signal.SIGALRM, handler)
interrupted = 0
comm.Barrier()
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        use_until_interrupted()
    except Interrupted:
        pass
    interrupted += 1
    assert not may_raise
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert lock.describe().count(f"rank {comm.Get_rank()} ") == 0, lock
request = comm.Ibarrier()
while not request.Test():
    time.sleep(0.001)
assert lock.describe() == "", lock
comm.Barrier()  # the others look before this rank goes on
assert interrupted > 100, interrupted
for _ in range(10):
    with lock.write(), lock.read():
        pass
comm.Barrier()
lock.close()
print("ended")
"""


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_interrupts_at_any_moment_leave_the_lock_free(nodes, tmp_path) -> None:
    (tmp_path / "program.py").write_text(OFTEN_INTERRUPTED)
    done = mpirun(3, tmp_path / "program.py", env={"BSBPOOL_TEST_NODES": str(nodes)})
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ended") == 3


WAITING = """
import os, time
from mpi4py import MPI
from bsbpool.locking import describe_locks, sync

comm = MPI.COMM_WORLD
with sync(comm) as lock:
    if comm.Get_rank() == 0:
        with lock.write():
            comm.Barrier()
            time.sleep(1.5)
            assert "rank 0 writes since 1." in describe_locks(), describe_locks()
            assert "rank 1 waits to read since" in repr(lock), lock
    else:
        comm.Barrier()
        begun = os.times()
        with lock.read():
            pass
        ended = os.times()
        used = ended.user + ended.system - begun.user - begun.system
        assert used < 0.2, f"{used} s of CPU time while it waited"
    comm.Barrier()
"""


def test_waiting_takes_no_cpu_time_and_is_described(tmp_path) -> None:
    (tmp_path / "program.py").write_text(WAITING)
    done = mpirun(2, tmp_path / "program.py")
    assert done.returncode == 0, done.stdout


INSIDE_JOBS = """
from mpi4py import MPI
from bsbpool import create_job_pool, services
from bsbpool.locking import sync

def make(owner, module):
    make_lock = sync if module == "ours" else services.MPILock.sync
    try:
        make_lock()
    except RuntimeError as error:
        assert "cannot be made inside a job" in str(error), error
    else:
        raise AssertionError("a lock was made inside a job")
    with services.MPILock.sync(MPI.COMM_SELF) as lock, lock.read(), lock.write():
        return "refused"

with create_job_pool() as pool:
    jobs = [pool.submit(make, module) for module in ("ours", "service") for _ in range(3)]
    pool.execute()
    if pool.is_main():
        print([job.result for job in jobs])
"""


def test_a_lock_of_all_ranks_is_refused_inside_a_job(tmp_path) -> None:
    (tmp_path / "program.py").write_text(INSIDE_JOBS)
    done = mpirun(3, tmp_path / "program.py")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("refused") == 6
