"""The pools behind an executor: kept open for calls to come, and dropping what has ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from bsbpool._core.jobs.invoke import NO_OWNER
from bsbpool.function_job import FunctionJob
from bsbpool.futures.future import PoolFuture
from bsbpool.naming import shortened, text_of
from bsbpool.pool import JobPool
from bsbpool.run_context import Run
from bsbpool.submission_context import SubmissionContext

if TYPE_CHECKING:
    from bsbpool.futures.backend_ranks import RanksBackend
    from bsbpool.futures.serving import Session

_ids = itertools.count(1 << 40)
"""Far from those that people give to their pools."""


class FutureJob(FunctionJob[Any]):
    """A job for whose end a future waits, which is kept where others keep their context."""

    __slots__ = ()

    @property
    def _submit_ctx(self) -> SubmissionContext:
        future = self._context
        call_options = dict(future.call_options or {}) if isinstance(future, PoolFuture) else {}
        return SubmissionContext(call_options.pop("submitter", self._function), **call_options)

    def _call_text(self) -> str:
        name = self.context.get("name")
        return super()._call_text() if name is None else shortened(text_of(name))


class ExecutorPool(JobPool):
    """A pool of an executor, on the rank that submits or on one that works.

    Jobs of it get no owner. A run of it goes on while it is kept open. A run that comes to its own
    end is followed by one of another pool, so that the tables of a pool do not grow for ever; one
    that is ended early was the last.

    Parameters
    ----------
    service : MPIService
        The ranks that take part.
    run : callable
        Makes the run of the pool on this rank, of it and its channel.
    backend : RanksBackend, optional
        Whose calls these are, on the rank that submits.
    session : Session, optional
        What a rank that works needs to know.
    """

    _job_type: ClassVar[type[FunctionJob[Any]]] = FutureJob

    # Compiled methods, without a Python call around them.
    queue_call = JobPool._queue_for_future
    drop_job = JobPool._release_job

    cache_set = JobPool._set_of

    def __init__(
        self,
        service: Any,
        run: Callable[[ExecutorPool, Any], Run],
        backend: RanksBackend | None = None,
        session: Session | None = None,
    ) -> None:
        self._make_executor_run = run
        self.kept_open = backend is not None
        self.backend = backend
        self.session = session
        super().__init__(next(_ids), NO_OWNER, comm=service)
        if backend is not None:
            self._on_job_end = backend.deliver

    def _make_run(self) -> Run:
        from bsbpool.services.channels import channel_of

        return self._make_executor_run(self, channel_of(self._comm.get_communicator()))

    @property
    def scheduling(self) -> bool:
        """Whether more calls may come."""
        return self.kept_open

    def error_of(self, job: Any, deps: Any) -> Any:
        """Return why a job that has ended did not succeed; `deps` are those it had."""
        context = self.run_context
        if context.engine.dependency_failed(job._id):
            job._error = self.job_control.dependency_error(deps)
        error = job.error  # it is not found any more when the failure is forgotten
        context.events.failures.pop(job, None)
        return error
