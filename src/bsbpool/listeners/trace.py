"""A listener that writes a run as a file of Chrome trace events."""

from __future__ import annotations

import copy
import os
import time
import warnings
from typing import Any

from bsbpool._core.jobs.job_times import JobTimes
from bsbpool.listeners.base import Listener
from bsbpool.listeners.memory_samples import MemorySamples
from bsbpool.listeners.refresher import Refresher
from bsbpool.listeners.trace_file import TraceFile
from bsbpool.progress import PoolProgress, PoolStatusProgress
from bsbpool.status import PoolStatus

SECONDS_TO_FIRST = 1.0
"""Seconds until the jobs so far are written first, and at least between two times."""
LONGEST_SHARE = 100
"""The time between them is at least this many times as long as writing takes."""


class TraceListener(Listener):
    """Writes when and where each job ran, for trace viewers and ``bsbpool report``.

    The file has Chrome trace events, which https://ui.perfetto.dev and https://www.speedscope.app
    open: a track for each rank, a slice for each attempt of a job, arrows for dependencies, and
    counters of the jobs that wait and run and of the memory. The main rank writes it when the
    ``with`` block of the pool ends, also after an error or Ctrl-C; if the listener was added inside
    of the block, when the run ends. Until then it replaces the file now and then by one that has
    the jobs so far, first after a second, and so that this takes at most a hundredth of the time.
    The pools of a program, one after the other, can share a listener and so a file.

    The pool notes the times of its jobs, as with ``timestamps=True``. It makes no records for this
    listener; the file is made from the table of times.

    Parameters
    ----------
    path : str or path
        The file. An existing one is replaced.
    labels : bool
        Whether each slice has the arguments of its call. By default only those of failed jobs
        have them, since these texts take longer than the rest of the trace. The names of the
        longest jobs are in the file in any case.
    max_arrows : int
        Dependencies that are drawn as arrows. Of the others the file has the numbers of the jobs.

    Examples
    --------
    >>> import json, os, tempfile
    >>> from bsbpool import create_job_pool
    >>> from bsbpool.listeners import TraceListener
    >>> path = os.path.join(tempfile.mkdtemp(), "run.trace.json")
    >>> pool = create_job_pool(quiet=True)
    >>> pool.add_listener(TraceListener(path))
    >>> with pool:
    ...     jobs = [pool.submit(lambda owner, n: n * n, n) for n in range(4)]
    ...     pool.execute()
    >>> with open(path) as file:
    ...     events = json.load(file)["traceEvents"]
    >>> sum(event.get("cat") == "job" for event in events)
    4
    """

    job_records = False

    def __init__(
        self, path: str | os.PathLike[str], *, labels: bool = False, max_arrows: int = 200_000
    ) -> None:
        self.path = os.fspath(path)
        self._labels = labels
        self._max_arrows = max_arrows
        self._entered = 0
        self._recording: PoolRecording | None = None
        self._file: TraceFile | None = None
        self._refresher = Refresher(self._write_so_far, SECONDS_TO_FIRST, lambda: None)

    def __enter__(self) -> TraceListener:
        self._entered += 1
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered -= 1
        self._write()

    def __call__(self, progress: PoolProgress) -> None:
        """Note the beginning of a pool, or the change of its status."""
        if self._recording is None or self._recording.pool is not progress.pool:
            self._begin(progress.pool)
        recording = self._recording
        if recording is None or not isinstance(progress, PoolStatusProgress):
            return
        recording.phases.append((time.monotonic_ns(), progress.status))
        if progress.status is PoolStatus.CLOSING and not self._entered:
            self._write()

    def _begin(self, pool: Any) -> None:
        self._write()
        context = getattr(pool, "run_context", None)
        if context is None:
            raise TypeError(f"TraceListener is for pools of bsbpool, got a {type(pool).__name__}")
        if not pool.is_main() or context.closed:
            return
        if context.times is None:
            context.times = JobTimes(context.submitter)
        if self._file is None:
            self._file = TraceFile(self.path)  # an error comes before the run
        self._recording = PoolRecording(pool)
        self._recording.memory.__enter__()
        self._refresher.start()

    def _write_so_far(self) -> float:
        """Write what is known of the run; return the seconds until the next time."""
        recording, file = self._recording, self._file
        began = time.monotonic()
        if recording is not None and file is not None:
            file.write_so_far(recording.copy_so_far(), self._labels, self._max_arrows)
        return max(SECONDS_TO_FIRST, LONGEST_SHARE * (time.monotonic() - began))

    def _write(self) -> None:
        """Write the pool that was recorded, if there is one."""
        if self._recording is not None:
            self._refresher.stop()
        recording, self._recording = self._recording, None
        if recording is None or self._file is None:
            return
        recording.memory.__exit__()
        recording.phases.append((time.monotonic_ns(), None))
        try:
            self._file.add(recording, self._labels, self._max_arrows)
        except OSError as error:
            warnings.warn(f"The trace {self.path} is not complete: {error}", stacklevel=2)


class PoolRecording:
    """What is known of a pool besides the table of its jobs.

    Parameters
    ----------
    pool : JobPool
        The pool.

    Attributes
    ----------
    pool, context
        The pool, and its run context.
    phases : list of tuple
        When the pool got each status, on the clock of `time.monotonic_ns`; the last one is None.
    memory : MemorySamples
        The memory of the ranks during the run.
    n_ranks : int
        The number of ranks.
    worker_ranks : range
        The ranks that run jobs.
    running : list of tuple
        The jobs that run, see `Run.running_jobs`, if the run has not ended.
    is_complete : bool
        Whether the run has ended.
    """

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.context = pool.run_context
        self.phases: list[tuple[int, PoolStatus | None]] = []
        self.memory = MemorySamples(self.context)
        # Found here: the thread that writes the jobs so far must not call MPI.
        self.n_ranks: int = self.context.comm.get_size()
        self.worker_ranks: range = self.context.worker_ranks
        self.running: list[tuple[int, int, float | None]] = []
        self.is_complete = True

    def copy_so_far(self) -> PoolRecording:
        """Return a copy that ends now."""
        found = copy.copy(self)
        found.running = list(self.context.run.running_jobs())
        found.phases = [*self.phases, (time.monotonic_ns(), None)]
        found.is_complete = False
        return found
