"""Shared by the tests of the public API: functions to queue, nodes and a recording listener."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bsbpool import Job, JobPool
from bsbpool.progress import (
    PoolJobAddedProgress,
    PoolJobUpdateProgress,
    PoolProgress,
    PoolProgressReason,
    PoolStatusProgress,
)


def nothing(owner: Any) -> None:
    """Do nothing."""


def give(owner: Any, value: Any) -> Any:
    """Return the argument."""
    return value


def fail(owner: Any, message: str = "no") -> None:
    """Raise a ValueError."""
    raise ValueError(message)


class Node:
    """A node that queues jobs, as the nodes of a user's configuration do.

    Parameters
    ----------
    name : str
        Its node name.
    queue : callable, optional
        Queues the jobs of the node; called with the pool.
    depends_on : iterable of Node
        Nodes that must have queued their jobs before.
    """

    def __init__(
        self,
        name: str = "node",
        queue: Callable[[JobPool], Any] = lambda pool: None,
        depends_on: Any = (),
    ) -> None:
        self.name = name
        self.queue = queue
        self.depends_on = list(depends_on)

    def get_node_name(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{self.name}>"


class RecordingListener:
    """A listener that records its calls and returns the value of `answer`."""

    def __init__(self, answer: Callable[[PoolProgress], Any] = lambda record: None) -> None:
        self.records: list[PoolProgress] = []
        self.answer = answer

    def __call__(self, record: PoolProgress) -> Any:
        self.records.append(record)
        return self.answer(record)

    @property
    def added(self) -> list[Job]:
        """The jobs that were added, in order."""
        return [r.job for r in self.records if isinstance(r, PoolJobAddedProgress)]

    @property
    def pings(self) -> int:
        """The number of pings: calls without a change."""
        return sum(r.reason is PoolProgressReason.MAX_TIMEOUT_PING for r in self.records)

    @property
    def pool_steps(self) -> list[str]:
        """The statuses of the pool, as ``"scheduling > executing"``."""
        return [
            f"{_word(r._old_status)} > {_word(r.status)}"
            for r in self.records
            if isinstance(r, PoolStatusProgress)
        ]

    def steps_of(self, job: Job) -> list[str]:
        """The statuses of a job, as ``"queued > running"``."""
        return [
            f"{_word(r.old_status)} > {_word(r.status)}"
            for r in self.records
            if isinstance(r, PoolJobUpdateProgress) and r.job is job
        ]


def _word(status: Any) -> str:
    return "none" if status is None else str(status.value)


SUCCEEDS = ["pending > queued", "queued > running", "running > success"]
FAILS = ["pending > queued", "queued > running", "running > failed"]


def statuses(*jobs: Job) -> list[str]:
    """Return the statuses of jobs as strings."""
    return [job.status.value for job in jobs]


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Fail if the block takes more CPU time of this thread; wall time depends on other load."""
    gc.collect()
    before = time.thread_time()
    yield
    used = time.thread_time() - before
    assert used < seconds, f"took {used:.2f} s of CPU, the limit is {seconds:g} s"


def cpu_seconds(f: Callable[[], Any], repeat: int = 3) -> float:
    """Return the smallest CPU time of a call in this thread."""
    times = []
    for _ in range(repeat):
        gc.collect()
        before = time.thread_time()
        f()
        times.append(time.thread_time() - before)
    return min(times)


def until(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """Wait for a condition; return whether it became true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
