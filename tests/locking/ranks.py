"""Ranks that change shared counters under the lock: run with mpiexec."""

from __future__ import annotations

import mmap
import random
import sys
import time

from mpi4py import MPI

from bsbpool.locking import sync

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0


def main(n_operations: int) -> None:
    comm = MPI.COMM_WORLD
    rank = comm.Get_rank()
    with open("counters", "r+b") as file:
        # Writers change one number after the other; readers must see them equal.
        memory = memoryview(mmap.mmap(file.fileno(), 64)).cast("q")
    with sync() as lock:
        r = random.Random(rank)
        writes = 0
        for _ in range(n_operations):
            if r.random() < 0.5:
                with lock.read():
                    read(memory)
                    if r.random() < 0.1:
                        with lock.read():
                            read(memory)
                    if r.random() < 0.1:
                        with lock.write():
                            write(memory)
                            writes += 1
                        read(memory)
            else:
                with lock.write():
                    write(memory)
                    writes += 1
                    if r.random() < 0.1:
                        with lock.write(), lock.read():
                            write(memory)
                            writes += 1
        total = comm.allreduce(writes)
        with lock.read():
            assert memory[0] == memory[1] == total, (memory[0], memory[1], total)
        comm.Barrier()
    if rank == 0:
        print(f"{total} writes, none lost")


def read(memory: memoryview) -> None:
    first = memory[0]
    assert memory[1] == first, "a reader beside a writer"
    if SECONDS:
        time.sleep(SECONDS)
    assert memory[0] == memory[1] == first, "a writer beside a reader"


def write(memory: memoryview) -> None:
    n = memory[0]
    assert memory[1] == n, "two writers"
    memory[0] = n + 1
    if SECONDS:
        time.sleep(SECONDS)
    memory[1] = n + 1


main(int(sys.argv[1]))
