"""Measure the CPU time of the main rank's steps: the real loop, with workers that reply at once.

No MPI and no other rank is needed. The pool, its loop, the dispatcher, the frames and the channel
are the real ones; `Loopback` stands for the network and the workers. Three runs give three costs,
those of a job, a message and a round:

- many workers with long jobs: each job is alone in its message, and a round has 64 messages;
- two workers with short jobs: a message has as many jobs as it can;
- one worker with long jobs: each job takes a round of the loop.
"""

from __future__ import annotations

import gc
import math
import time
from typing import Any, NamedTuple

from bsbpool._core.comm.channel import Channel
from bsbpool._core.simulation.loopback import Loopback, time_frames, time_scan
from bsbpool.execution.main import MainRun
from bsbpool.pool import JobPool
from bsbpool.simulation.costs import Calibration, Costs
from bsbpool.simulation.measure_wakeup import measure_wakeup
from bsbpool.simulation.networks import LOCAL

LONG_NS = 1_000_000_000
"""The run time of jobs that are not sent ahead."""
MESSAGES_PER_ROUND = 64
REPEATS = 5
WAITING_POLLS = 3
"""Polls without a message after which a channel has begun to wait, and polls again."""


class _VirtualService:
    """Stands for the communicator of a pool whose other ranks do not exist."""

    def __init__(self, n_ranks: int) -> None:
        self._n_ranks = n_ranks

    def get_communicator(self) -> None:
        return None

    def get_rank(self) -> int:
        return 0

    def get_size(self) -> int:
        return self._n_ranks


class _VirtualPool(JobPool):
    """A pool on the main rank whose workers are a `Loopback`."""

    def __init__(self, loopback: Loopback, n_ranks: int) -> None:
        self._loopback = loopback
        super().__init__(1, None, comm=_VirtualService(n_ranks))

    def _make_run(self) -> Any:
        return MainRun(self.run_context, Channel(self._loopback))


class MainMeasurement(NamedTuple):
    """A run of the real loop of the main rank with virtual workers."""

    jobs: int
    messages: int
    """The messages that were sent; as many were received."""
    seconds: float
    """The CPU time of the run."""
    resident: int
    """The growth of the resident memory when the pool was opened, in bytes."""

    @property
    def per_job(self) -> float:
        """The CPU time for each job in seconds."""
        return self.seconds / self.jobs


def nothing(owner: Any, number: int) -> None:
    """Do nothing: the job of the measurement."""


def measure_main(
    ranks: int, jobs: int, run_ns: int = LONG_NS, active: int | None = None, hidden: int = 0
) -> MainMeasurement:
    """Measure the main rank with `ranks` - 1 workers that reply at once.

    Parameters
    ----------
    ranks : int
        The number of ranks.
    jobs : int
        The number of no-op jobs.
    run_ns : int, optional
        The run time in ns that the workers report.
    active : int, optional
        How many jobs may run at a time: each waits for the one that many before it. By default
        all jobs are independent.
    hidden : int, optional
        How many polls find nothing after a message was sent; from 2 on, the loop waits.

    Returns
    -------
    MainMeasurement

    Examples
    --------
    >>> from bsbpool.simulation.calibrate import measure_main
    >>> measured = measure_main(ranks=5, jobs=1000)
    >>> measured.jobs, measured.messages
    (1000, 1000)
    """
    loopback = Loopback(ranks, run_ns, hidden)
    before = _resident()
    pool = _VirtualPool(loopback, ranks)
    with pool:
        resident = _resident() - before
        queued: list[Any] = []
        for number in range(jobs):
            if active is None or number < active:
                queued.append(pool.queue(nothing, (number,)))
            else:
                queued.append(pool.queue(nothing, (number,), deps=[queued[-active]]))
        gc.collect()
        gc.disable()
        try:
            spent, begin = loopback.spent_ns, time.process_time()
            pool.execute()
            taken = time.process_time() - begin - (loopback.spent_ns - spent) * 1e-9
        finally:
            gc.enable()
    return MainMeasurement(jobs, loopback.n_messages, taken, resident)


def calibrate(jobs: int = 100_000, workers: int = 1024, many: int = 131_072) -> Calibration:
    """Measure the costs of this machine; it takes some seconds.

    Parameters
    ----------
    jobs : int, optional
        The number of jobs of each measurement.
    workers : int, optional
        The number of workers whose state stays in the caches.
    many : int, optional
        A number of workers whose state does not.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If `many` is not larger than `workers`.
    """
    if not workers < many:
        raise ValueError(f"many must be larger than workers ({workers:,}), got {many:,}")
    alone = _least(workers + 1, jobs, LONG_NS)
    batched = _least(3, jobs, 0)
    turns = _least(2, jobs, LONG_NS)
    cold = _least(many + 1, max(jobs, 2 * many), LONG_NS, repeats=2)
    per_message = batched.messages / jobs
    # alone = job + 2 m + round / 64; turns = job + 2 m + round; batched = job + per_message * 2 m
    rounds = max((turns.per_job - alone.per_job) / (1 - 1 / MESSAGES_PER_ROUND), 0.0)
    both = alone.per_job - rounds / MESSAGES_PER_ROUND
    pair = max((both - batched.per_job) / (1 - per_message), 0.0)
    job = both - pair
    frame = min(*(time_frames(100_000) for _ in range(REPEATS)), pair * 1e9) * 1e-9 / 2
    default = Costs()
    costs = Costs(
        round=rounds,
        job_sent=job / 2,
        job_done=job / 2,
        frame=frame,
        cold=max(cold.per_job - alone.per_job, 0.0) / math.log2(many / workers) / 2,
        message=pair / 2 - frame,
        worker_job=default.worker_job * job / (default.job_sent + default.job_done),
        scan=time_scan(1 << 20) * 1e-9,
    )
    waits = min(
        (measure_main(2, jobs, hidden=WAITING_POLLS) for _ in range(REPEATS)),
        key=lambda each: each.seconds,
    )
    wakeup, notify, sleep = measure_wakeup()
    sleep += max(waits.per_job - turns.per_job, 0.0)
    return Calibration(costs, LOCAL._replace(wakeup=wakeup, notify=notify), sleep)


def _least(ranks: int, jobs: int, run_ns: int, repeats: int = REPEATS) -> MainMeasurement:
    """Return the fastest of some measurements: others are disturbed by other programs."""
    return min(
        (measure_main(ranks, jobs, run_ns) for _ in range(repeats)), key=lambda each: each.seconds
    )


def _resident() -> int:
    """Return the resident memory of this process in bytes; 0 where it is not known."""
    import os

    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
