"""What a lock with the interface of mpilock does: run with mpiexec, with "native" or "mpilock".

Each rank notes the times at which it had access. The times of all ranks are then compared: they
share a clock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any, NamedTuple

from mpi4py import MPI

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
HOLD = 0.15


class Access(NamedTuple):
    """A time in which a rank had access."""

    kind: str
    begin: float
    end: float

    def overlaps(self, other: Access) -> bool:
        return self.begin < other.end and other.begin < self.end


class Journal:
    """The accesses of this rank."""

    def __init__(self, lock: Any) -> None:
        self._lock, self._own = lock, list[Access]()

    @contextmanager
    def access(self, kind: str, seconds: float = 0.0) -> Iterator[None]:
        """Have access, and note when."""
        with getattr(self._lock, kind)():
            begin = time.monotonic()
            time.sleep(seconds)
            yield
            self._own.append(Access(kind, begin, time.monotonic()))

    def all(self) -> list[list[Access]]:
        """Return the accesses of all ranks. Collective."""
        return COMM.allgather(self._own)


def first_then_others(lock: Any, first: str, others: str, seconds: float = 0.0) -> Any:
    """Rank 0 has access; the others ask for it meanwhile. Return the accesses of all ranks."""
    journal = Journal(lock)
    if RANK == 0:
        with journal.access(first):
            COMM.bcast(None, root=0)
            time.sleep(HOLD)
    else:
        COMM.bcast(None, root=0)
        with journal.access(others, seconds):
            pass
    return journal.all()


def a_write_blocks_reads(lock: Any) -> None:
    found = first_then_others(lock, "write", "read")
    assert all(reads[0].begin >= found[0][0].end for reads in found[1:])


def a_read_blocks_writes(lock: Any) -> None:
    found = first_then_others(lock, "read", "write")
    assert all(writes[0].begin >= found[0][0].end for writes in found[1:])


def reads_overlap(lock: Any) -> None:
    journal = Journal(lock)
    COMM.Barrier()
    with journal.access("read", HOLD):
        COMM.Barrier()  # all ranks have access at the same time, or this hangs


def reads_overlap_after_a_write(lock: Any) -> None:
    found = first_then_others(lock, "write", "read", HOLD)
    reads = [accesses[0] for accesses in found[1:]]
    assert all(a.overlaps(b) for a, b in combinations(reads, 2))


def writes_do_not_overlap(lock: Any) -> None:
    journal = Journal(lock)
    COMM.Barrier()
    for _ in range(3):
        with journal.access("write", 0.01):
            pass
    writes = [access for accesses in journal.all() for access in accesses]
    assert len(writes) == 3 * SIZE
    assert not any(a.overlaps(b) for a, b in combinations(writes, 2))


def nested_blocks_are_granted(lock: Any) -> None:
    kinds = ("read", "write")
    for outer in kinds:
        for inner in kinds:
            with getattr(lock, outer)(), getattr(lock, inner)():
                pass
    for _ in range(20):
        with lock.write(), lock.read(), lock.write():
            pass
        with lock.read(), lock.write():
            pass


def nested_blocks_keep_the_outer_access(lock: Any) -> None:
    journal = Journal(lock)
    if RANK == 0:
        with journal.access("write"):
            COMM.bcast(None, root=0)
            for kind in ("read", "write"):
                with getattr(lock, kind)():
                    time.sleep(HOLD / 3)
            time.sleep(HOLD / 3)
    else:
        COMM.bcast(None, root=0)
        with journal.access("read" if RANK == 1 else "write"):
            pass
    first, *others = journal.all()
    assert all(accesses[0].begin >= first[0].end for accesses in others)


def a_write_inside_of_a_read_is_exclusive(lock: Any) -> None:
    journal = Journal(lock)
    COMM.Barrier()
    for _ in range(3):
        with lock.read():
            with journal.access("write", 0.01):
                pass
            with journal.access("read", 0.005):
                pass
    found = [access for accesses in journal.all() for access in accesses]
    writes = [access for access in found if access.kind == "write"]
    assert len(writes) == 3 * SIZE
    assert not any(
        write.overlaps(other) for write in writes for other in found if other is not write
    )


def the_writer_of_single_write_executes_the_block(lock: Any) -> None:
    for writer in (None, SIZE - 1):
        executed = False
        with lock.single_write(rank=writer) as fence:
            fence.guard()
            executed = True
            fence.share({"rank": RANK})
        expected = lock.master if writer is None else writer
        assert executed is (expected == RANK)
        assert fence.collect() == {"rank": expected}


def the_others_wait_for_the_block(lock: Any) -> None:
    begin = end = 0.0
    with lock.single_write() as fence:
        fence.guard()
        time.sleep(HOLD)
        end = time.monotonic()
    begin = time.monotonic()
    ended = COMM.bcast(end, root=lock.master)
    assert begin >= ended


def single_write_gives_a_handle_to_the_writer(lock: Any) -> None:
    with lock.single_write(handle=5) as handle:
        assert handle == (5 if lock.master == RANK else None)


def ranks_outside_of_mpi_do_not_delay_others(lock: Any) -> None:
    """All ranks but one compute. With mpilock, the thread of the master answers."""
    slowest = 0.0
    COMM.Barrier()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        if RANK == SIZE - 1:
            begun = time.monotonic()
            with lock.write():
                pass
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.001)
    assert slowest < 0.25, slowest


def the_controller_tells_its_state(lock: Any) -> None:
    assert (lock.rank, lock.master, lock.closed) == (RANK, 1, False)


BEHAVIOURS: list[Callable[[Any], None]] = [
    a_write_blocks_reads,
    a_read_blocks_writes,
    reads_overlap,
    reads_overlap_after_a_write,
    writes_do_not_overlap,
    nested_blocks_are_granted,
    nested_blocks_keep_the_outer_access,
    a_write_inside_of_a_read_is_exclusive,
    the_writer_of_single_write_executes_the_block,
    the_others_wait_for_the_block,
    single_write_gives_a_handle_to_the_writer,
    ranks_outside_of_mpi_do_not_delay_others,
    the_controller_tells_its_state,
]


def main() -> None:
    if sys.argv[1] == "mpilock":
        from mpilock import sync
    else:
        from bsbpool.locking import sync
    with sync(master=1) as lock:
        with lock as entered:
            assert entered is lock
        assert lock.closed
    with sync(COMM, 1) as lock:
        for behaviour in BEHAVIOURS:
            COMM.Barrier()
            behaviour(lock)
            COMM.Barrier()
            if RANK == 0:
                print(behaviour.__name__, flush=True)


main()
