"""A call with options in a process without workers: the only job of a pool."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool.caching.items import RankCache
from bsbpool.exceptions import WorkerTraceback, WorkflowError
from bsbpool.execution.serial import SerialRun
from bsbpool.futures.calls import Call
from bsbpool.futures.executor_pool import FutureJob, make_job
from bsbpool.metadata import JobMetadata
from bsbpool.pool import JobPool
from bsbpool.runs import Run
from bsbpool.services.mpi import MPIService
from bsbpool.settings import PoolSettings

_ids = itertools.count(1 << 41)


class OuterCache(RankCache):
    """The cache of the thread that runs the calls: it keeps the items after each call."""

    def scope(self, *, copied: bool = False) -> AbstractContextManager[None]:
        """Register items in the scope of the thread."""
        return nullcontext()

    def free_all(self) -> None:
        """Keep the items; they are freed when the executor ends."""


class SingleCall(JobPool):
    """The pool of one call.

    Parameters
    ----------
    service : MPIService
        The ranks of the executor: this one.
    settings : PoolSettings
        The settings of the executor.
    """

    _job_type = FutureJob

    def __init__(self, service: MPIService, settings: PoolSettings) -> None:
        settings = dataclasses.replace(settings, strict=True, timestamps=True)
        super().__init__(next(_ids), NO_OWNER, comm=service, settings=settings)
        self._job: FutureJob | None = None

    def _make_run(self) -> Run:
        return SerialRun(self.run_context)

    def _make_cache(self) -> RankCache:
        return OuterCache(NO_OWNER, set)

    def _with_inputs(self, job: Any, deps: Any) -> Any:
        return deps  # futures among the arguments are pickled as their results

    def run_call(
        self, call: Call, begin: Callable[[], bool]
    ) -> tuple[BaseException | None, Any, JobMetadata]:
        """Run a call whose dependencies have ended; return its error, result and metadata.

        Parameters
        ----------
        call : Call
            The call.
        begin : callable
            Called when the job exists, so that `interrupt` can cancel it. If it returns False, the
            job is cancelled before it runs.
        """
        assert call.special is not None
        with self:
            job = make_job(self, call, None)
            job.options = options = call.special.options
            self._put_with_options(job, options)
            self._job = call.future.pool_job = job
            try:
                if not begin():
                    self.interrupt()
                with suppress(WorkflowError):  # it has the error of the job
                    self.execute()
            finally:
                # The pool is part of reference cycles, which must not keep large arguments.
                self._job = call.future.pool_job = None
                call.future.ended_output = job.output
            error = job.error
            if error is not None and isinstance(error.__cause__, WorkerTraceback):
                # The cause has the traceback of the function. This one refers to the call.
                error.__traceback__ = None
            value = job.stored_outcome if error is None else None
            return error, value, job.metadata

    def interrupt(self) -> bool:
        """Cancel the call also if it is running, from any thread; return whether it had not ended.

        The backend calls it while `run_call` runs, after `begin`.
        """
        job = self._job
        # Not `job.cancel`, which warns about a job that has ended.
        return job is not None and not self.job_control.cancel(job, None, True)
