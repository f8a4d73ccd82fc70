"""Ranks of several nodes as threads, one at a time, with windows that this module implements.

A rank stops before and after each operation on a window. Which rank goes on then, and which one
dies where, follows from a seed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from bsbpool._core.locking.global_queue import GlobalQueue
from bsbpool._core.locking.node_lock import HEAD_BYTES, SLOT_BYTES, NodeLock
from bsbpool._core.locking.rank_lock import RankLock, ReadLock, WriteLock

UNCERTAIN = (3, 6)
"""COUNTING and GIVING_READ: a death may leave a reader too many, and then writers wait."""


class Ended(BaseException):
    """Ends the thread of a rank that died, or that has not finished."""


class Window:
    """A window, as one rank sees it."""

    def __init__(self, world: World, rank: int) -> None:
        self._world, self._rank = world, rank

    def Get_attr(self, key: str) -> str:
        return "unified" if self._world.is_direct else "separate"

    def tomemory(self) -> memoryview:
        return self._world.words[self._rank].data

    def Fetch_and_op(self, given, result, rank: int, word: int, op: str) -> None:
        self._world.stop(self._rank)
        words = self._world.words[rank]
        result[0] = words[word]
        words[word] = {"sum": words[word] + given[0], "no_op": words[word], "set": given[0]}[op]
        self._world.stop(self._rank)

    def Compare_and_swap(self, given, compared, result, rank: int, word: int) -> None:
        self._world.stop(self._rank)
        words = self._world.words[rank]
        result[0] = words[word]
        if words[word] == compared[0]:
            words[word] = given[0]
        self._world.stop(self._rank)

    def Lock_all(self, mode: int) -> None: ...

    def Flush(self, rank: int) -> None: ...

    def Sync(self) -> None: ...

    def Unlock_all(self) -> None: ...

    def Free(self) -> None: ...


class Comm:
    """The communicator, as one rank sees it."""

    def __init__(self, world: World, rank: int) -> None:
        self._world, self._rank = world, rank

    def Get_size(self) -> int:
        return len(self._world.words)

    def Get_rank(self) -> int:
        return self._rank

    def Barrier(self) -> None: ...


class World:
    """The ranks; rank r is on node ``r % n_nodes``.

    Parameters
    ----------
    n_ranks, n_nodes : int
        The numbers of ranks and nodes.
    seed : int
        Chooses the order of steps.
    dies : int, optional
        The rank that dies.
    dies_at : int
        After how many of its steps.
    is_direct : bool
        Whether ranks access their own words without MPI.
    """

    def __init__(
        self,
        n_ranks: int,
        n_nodes: int,
        seed: int,
        dies: int | None = None,
        dies_at: int = 0,
        is_direct: bool = True,
    ) -> None:
        self.words = [np.zeros(4, np.int64) for _ in range(n_ranks)]
        self.is_direct = is_direct
        self._random = random.Random(seed)
        self._n_nodes, self._dies, self._left = n_nodes, dies, dies_at
        self._turns = [threading.Semaphore(0) for _ in range(n_ranks)]
        self._stopped = threading.Semaphore(0)
        self._running = set(range(n_ranks))
        self._finished: set[int] = set()
        self._waiting: set[int] = set()
        self._ending = False
        self.died_at: int | None = None
        self.readers: set[int] = set()
        self.writers: set[int] = set()
        self.errors: list[BaseException] = []
        members = [range(node, n_ranks, n_nodes) for node in range(n_nodes)]
        self.pages = [bytearray(HEAD_BYTES + SLOT_BYTES * len(ranks)) for ranks in members]
        self.nodes: list[NodeLock] = []
        self.locks: list[RankLock] = []
        self._queues: list[GlobalQueue] = []
        for rank in range(n_ranks):
            mpi = SimpleNamespace(
                Win=SimpleNamespace(Allocate=lambda *_, rank=rank: Window(self, rank)),
                COMM_SELF=SimpleNamespace(Iprobe=lambda rank=rank: self.stop(rank, waits=True)),
                INFO_NULL=None, WIN_MODEL=0, WIN_UNIFIED="unified", MODE_NOCHECK=0,
                SUM="sum", NO_OP="no_op", REPLACE="set",
            )  # fmt: skip
            queue = GlobalQueue(Comm(self, rank), 0, False, mpi)
            self._queues.append(queue)
            node, slot = rank % n_nodes, rank // n_nodes
            self.nodes.append(NodeLock(self.pages[node], slot, len(members[node]), 0, True))
            self.locks.append(RankLock(rank, 0, self.nodes[-1], queue))

    def stage(self, rank: int) -> int:
        """Return the stage of the node of a rank."""
        return int.from_bytes(self.pages[rank % self._n_nodes][36:40], "little")

    def stop(self, rank: int, waits: bool = False) -> None:
        """Let another rank go on."""
        (self._waiting.add if waits else self._waiting.discard)(rank)
        if self._ending:
            raise Ended
        if threading.current_thread().name == str(rank):
            self._stopped.release()
            self._turns[rank].acquire()
            if self._ending:
                raise Ended

    def run(self, scripts: list[list[str]], seconds: float = 10.0) -> bool:
        """Run a script of reads and writes on each rank; return whether all came to their ends."""
        threads = [
            threading.Thread(target=self._run_rank, args=(rank, script), name=str(rank))
            for rank, script in enumerate(scripts)
        ]
        for thread in threads:
            thread.start()
        died = time.monotonic()
        end = died + seconds
        while True:
            living = self._running - ({self._dies} if self.died_at is not None else set())
            if self.died_at in UNCERTAIN:
                end = min(end, died + 0.3)
            done = living <= self._finished and self.words[0][0] == 0
            if done or self.errors or time.monotonic() > end:
                break
            active = sorted(living - self._waiting)
            if not active or self._random.random() < 0.1:  # waiting takes time
                active = sorted(living)
            rank = self._random.choice(active)
            self._turns[rank].release()
            self._stopped.acquire()
            if rank == self._dies and rank not in self._finished:
                self._left -= 1
                if self._left == 0:
                    self._die(rank)
        self._ending = True
        for turn in self._turns:
            turn.release()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        for queue in self._queues:
            queue.free()
        if self.errors:
            raise self.errors[0]
        return done

    def _die(self, rank: int) -> None:
        """The rank does not go on, and another one of its node notices."""
        self.died_at = self.stage(rank)
        self.readers.discard(rank)
        self.writers.discard(rank)
        other = (rank + self._n_nodes) % len(self.nodes)
        self.nodes[other].abandon(rank // self._n_nodes)

    def _run_rank(self, rank: int, script: list[str]) -> None:
        try:
            self._turns[rank].acquire()
            for step in script:
                self._operate(rank, step)
            self._finished.add(rank)
            while True:
                self.locks[rank].recover()
                self.stop(rank, waits=True)
        except Ended:
            pass
        except BaseException as error:
            self.errors.append(error)
            self._stopped.release()

    def _operate(self, rank: int, step: str) -> None:
        lock: Callable[[RankLock], ReadLock | WriteLock] = ReadLock if step == "r" else WriteLock
        with lock(self.locks[rank]):
            mine = self.readers if step == "r" else self.writers
            mine.add(rank)
            self._check()
            self.stop(rank)
            self._check()
            mine.discard(rank)

    def _check(self) -> None:
        assert len(self.writers) <= 1, f"two writers: {self.writers}"
        assert not (self.writers and self.readers), f"{self.writers} beside {self.readers}"
