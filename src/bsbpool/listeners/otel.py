"""A listener that reports jobs as OpenTelemetry spans."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from bsbpool._core.jobs.job_times import JobTimes
from bsbpool.jobs import Job
from bsbpool.listeners.base import Listener
from bsbpool.listeners.otel_context import (
    JobTracer,
    RunSpan,
    TracedFunction,
    enter_jobs,
    leave_jobs,
)
from bsbpool.naming import kind_of, repr_of, text_of
from bsbpool.progress import PoolJobUpdateProgress, PoolProgress, PoolStatusProgress
from bsbpool.status import ERRONEOUS, FINISHED, PoolStatus


class OpenTelemetryListener(Listener):
    """Makes an OpenTelemetry span for each job, and one for the run, on the main rank.

    The spans belong to the trace of the span that is active when the ``with`` block of the pool
    begins, also if `bsb_otel` or another package has started it: the run is its child, and the
    jobs are children of the run. The span of a job has the times at which its rank ran it, and is
    made when the job has ended. Spans that the function of a job starts on another rank are its
    children, if all ranks add the listener before the ``with`` block and the tracer is that of the
    SDK.

    The attributes are ``mpi.rank`` and ``mpi.size``, as those of `bsb_otel`, ``host.name``, and
    with the prefix ``bsbpool.`` ``job.number``, ``job.label``, ``job.status``, ``job.attempts``,
    ``job.bytes_in``, ``job.bytes_out``, ``pool.id``. Failed and aborted jobs have the status ERROR
    and an event with the exception.

    Parameters
    ----------
    tracer : opentelemetry.trace.Tracer, optional
        Makes the spans; by default the tracer ``bsbpool`` of the global provider.

    Raises
    ------
    ImportError
        If opentelemetry-api is not installed; ``pip install 'bsbpool[otel]'`` installs it.

    Examples
    --------
    >>> from bsbpool import create_job_pool
    >>> from bsbpool.listeners import OpenTelemetryListener
    >>> pool = create_job_pool(quiet=True)
    >>> pool.add_listener(OpenTelemetryListener())
    >>> with pool:
    ...     job = pool.submit(lambda owner: 3)
    ...     pool.execute()
    """

    def __init__(self, tracer: Any = None) -> None:
        try:
            from opentelemetry import context, trace
        except ImportError as error:
            raise ImportError(
                "OpenTelemetryListener needs opentelemetry-api; install it with "
                "`pip install 'bsbpool[otel]'`"
            ) from error
        self._context, self._trace = context, trace
        self._tracer = tracer
        self._job_tracer: JobTracer | None = None
        self._parent = context.get_current()
        self._pool: Any = None
        self._run: Any = None
        self._entered = 0

    def __enter__(self) -> OpenTelemetryListener:
        self._entered += 1
        enter_jobs()
        self._parent = self._context.get_current()
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered -= 1
        leave_jobs()
        self._end_run(error[1] if len(error) > 1 else None)

    def __call__(self, progress: PoolProgress) -> None:
        """Start the span of a run, or make that of a job that has ended."""
        if isinstance(progress, PoolJobUpdateProgress):
            if progress.status in FINISHED:
                self._report(progress.pool, progress.job)
        elif isinstance(progress, PoolStatusProgress):
            self._status_changed(progress.pool, progress.status)

    def _status_changed(self, pool: Any, status: Any) -> None:
        if status is PoolStatus.CLOSING and not self._entered:
            self._end_run(None)
        elif pool.is_main():
            self._begin(pool)
            if status is PoolStatus.EXECUTING:
                self._run_span(pool)

    def _begin(self, pool: Any) -> None:
        """Let the pool note the times of its jobs."""
        if self._pool is pool:
            return
        self._end_run(None)
        self._pool = pool
        context = pool.run_context
        if context.times is None and not context.closed:
            context.times = JobTimes(context.submitter)
        if self._tracer is None:
            from bsbpool import __version__

            self._tracer = self._trace.get_tracer("bsbpool", __version__)
        self._job_tracer = JobTracer(self._tracer)

    def _run_span(self, pool: Any) -> Any:
        """Return the span of the run, which is started if there is none."""
        if self._run is None:
            self._run = self._tracer.start_span(
                "bsbpool.execute" if pool.workflow is None else f"bsbpool.{pool.workflow.phase}",
                context=self._parent,
                attributes={
                    "mpi.rank": 0,
                    "mpi.size": max(1, pool.run_context.comm.get_size()),
                    "bsbpool.pool.id": pool.run_context.pool_id,
                },
            )
            assert self._job_tracer is not None
            if self._job_tracer.can_set_ids:
                span = _run_span(self._run)
                pool.run_context.function_parcel = lambda payload, buffers: (
                    TracedFunction(span, payload, buffers).dumps()
                )
        return self._run

    def _end_run(self, error: BaseException | None) -> None:
        run, self._run, self._pool = self._run, None, None
        if run is None:
            return
        if error is not None:
            self._set_error(run, error, time.time_ns())
        run.end()

    def _report(self, pool: Any, job: Job[Any]) -> None:
        """Make the span of a job."""
        self._begin(pool)
        data = job.metadata
        now = time.time_ns()
        begin = now if data.started is None else int(data.started * 1e9)
        end = now if data.completed is None else int(data.completed * 1e9)
        run = self._run_span(pool)
        assert self._job_tracer is not None and job.number is not None
        span = self._job_tracer.start_span(
            _run_span(run).id_of_job(job.number),
            kind_of(job),
            context=self._trace.set_span_in_context(run, self._parent),
            attributes=self._attributes(pool, job, data),
            start_time=begin,
        )
        for number, attempt in enumerate(job.attempts, 1):
            span.add_event(
                "attempt failed",
                {"attempt": number, "mpi.rank": attempt.rank, "error": repr_of(attempt.error)},
                timestamp=begin,
            )
        if data.status in ERRONEOUS:
            self._set_error(span, job.error, end)
        span.end(end)

    def _attributes(self, pool: Any, job: Job[Any], data: Any) -> dict[str, Any]:
        found = {
            "mpi.rank": data.rank,
            "mpi.size": max(1, pool.run_context.comm.get_size()),
            "host.name": data.host,
            "bsbpool.pool.id": job.pool_id,
            "bsbpool.job.number": data.number,
            "bsbpool.job.label": job.label,
            "bsbpool.job.status": data.status.value,
            "bsbpool.job.attempts": data.attempts,
            "bsbpool.job.bytes_in": data.bytes_in,
            "bsbpool.job.bytes_out": data.bytes_out,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _set_error(self, span: Any, error: BaseException | None, at: int) -> None:
        text = None if error is None else text_of(error)
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, text))
        if error is not None:
            with suppress(Exception):  # it calls methods of the error
                span.record_exception(error, timestamp=at)


def _run_span(span: Any) -> RunSpan:
    context = span.get_span_context()
    return RunSpan(context.trace_id, context.span_id, int(context.trace_flags))
