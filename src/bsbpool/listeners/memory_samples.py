"""The memory of the ranks of a run, sampled by a listener."""

from __future__ import annotations

import resource
import time
from contextlib import suppress

from bsbpool._core.jobs.job_times import worker_counters
from bsbpool.run_context import RunContext
from bsbpool.timers import Repeating
from bsbpool.worker_ranks import worker_of

SECONDS_BETWEEN = 0.1
MOST_SAMPLES = 2000
LONGEST_SHARE = 200
"""The time between two samples is at least this many times as long as a sample takes."""
_PAGE = resource.getpagesize()


class MemorySamples:
    """Takes samples of the memory of a run while this context is entered.

    The number of samples is bounded: when there are too many, every second one is dropped, and the
    time between samples is doubled.

    Parameters
    ----------
    context : RunContext
        Of the pool.

    Attributes
    ----------
    samples : list of tuple
        The time in ns; the bytes of the main rank, of all workers together, and of the largest
        worker. Those of workers are the largest ones so far.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._workers: list[int] = []  # found here: the thread of the timer must not call MPI
        if context.run.parallel:
            n_ranks = context.comm.get_size()
            self._workers = [worker_of(rank, n_ranks) for rank in context.worker_ranks]
        self._between = SECONDS_BETWEEN
        self._next = 0.0
        self.samples: list[tuple[int, int, int, int]] = []

    def __enter__(self) -> MemorySamples:
        self.sample()
        self._timer = Repeating(self._sample_if_due, SECONDS_BETWEEN, time.monotonic())
        self._timer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.__exit__()
        self.sample()

    def _sample_if_due(self) -> None:
        if time.monotonic() >= self._next:
            self.sample()

    def sample(self) -> None:
        """Take a sample."""
        began = time.monotonic()
        peaks = self.peaks()
        self.samples.append(
            (time.monotonic_ns(), resident_bytes(), sum(peaks), max(peaks, default=0))
        )
        if len(self.samples) > MOST_SAMPLES:
            del self.samples[1:-1:2]
            self._between *= 2
        took = time.monotonic() - began
        self._next = began + max(self._between, LONGEST_SHARE * took)

    def peaks(self) -> list[int]:
        """Return the largest memory of each worker so far, in bytes."""
        engine = self._context.engine
        return [worker_counters(engine, worker)[3] << 10 for worker in self._workers]


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 if the system does not tell."""
    with suppress(OSError, ValueError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE
    return 0
