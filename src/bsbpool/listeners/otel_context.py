"""The span of a job as the parent of the spans that its function starts on another rank.

The span of a job is made on the main rank when the job has ended. Its id is derived from that of
the span of the run and the number of the job, so workers know it before. They get the ids of the
run together with the functions of jobs: unpickling a function stores them. A run without
`OpenTelemetryListener` sends nothing more, and messages have no further field.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bsbpool.process import running, running_here


class RunSpan(NamedTuple):
    """The span of a run, for other ranks."""

    trace_id: int
    span_id: int
    flags: int

    def id_of_job(self, number: int) -> int:
        """Return the id of the span of a job; it is not 0, which is no id."""
        text = f"{self.span_id}:{number}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") or 1


class _State:
    """The span of the run whose functions this rank has received last."""

    span: RunSpan | None = None


_state = _State()


class TracedFunction:
    """Unpickles as a function, and stores the span of the run.

    Parameters
    ----------
    span : RunSpan
        The span.
    payload, buffers : bytes, list
        The pickle of the function.
    """

    def __init__(self, span: RunSpan, payload: bytes, buffers: list[memoryview]) -> None:
        self._span, self._payload, self._buffers = span, payload, buffers

    def __reduce__(self) -> Any:
        buffers = map(pickle.PickleBuffer, self._buffers)
        return load_function, (tuple(self._span), self._payload, *buffers)

    def dumps(self) -> tuple[bytes, list[memoryview]]:
        """Return the pickle."""
        buffers: list[pickle.PickleBuffer] = []
        payload = pickle.dumps(self, 5, buffer_callback=buffers.append)
        return payload, [buffer.raw() for buffer in buffers]


def load_function(span: tuple[int, int, int], payload: bytes, *buffers: Any) -> Any:
    """Store the span of the run, and return the function."""
    _state.span = RunSpan(*span)
    return pickle.loads(payload, buffers=buffers)


def enter_jobs() -> None:
    """Let jobs of other ranks run in the context of their spans, from now on."""
    _state.span = None
    running.job_contexts.append(_job_context)


def leave_jobs() -> None:
    """Undo one call of `enter_jobs`."""
    running.job_contexts.remove(_job_context)
    _state.span = None


@contextmanager
def _job_context() -> Iterator[None]:
    job, span = running_here(), _state.span
    if job is None or span is None:
        yield
        return
    from opentelemetry import context, trace

    id = span.id_of_job(job.number)
    flags = trace.TraceFlags(span.flags)
    parent = trace.NonRecordingSpan(trace.SpanContext(span.trace_id, id, True, flags))
    token = context.attach(trace.set_span_in_context(parent))
    try:
        yield
    finally:
        context.detach(token)


class JobTracer:
    """Makes spans with given ids, with the settings of another tracer.

    Parameters
    ----------
    tracer : opentelemetry.sdk.trace.Tracer
        The other tracer. One that is not of the SDK makes ids of its own.
    """

    def __init__(self, tracer: Any) -> None:
        self.tracer = copy.copy(tracer)
        self.can_set_ids = hasattr(tracer, "id_generator")
        if self.can_set_ids:
            self._ids = self.tracer.id_generator = _GivenIds(tracer.id_generator)

    def start_span(self, id: int, *args: Any, **options: Any) -> Any:
        """Start a span with an id; other arguments as those of the tracer."""
        if self.can_set_ids:
            self._ids.span_id = id
        return self.tracer.start_span(*args, **options)


class _GivenIds:
    """Gives the span that is started next an id."""

    def __init__(self, others: Any) -> None:
        self._others = others
        self.span_id = 0

    def generate_span_id(self) -> int:
        return self.span_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._others, name)
