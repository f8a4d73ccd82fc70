"""Spans of jobs belong to the trace of the caller, also if bsb-otel has started it."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from api.on_ranks import on_ranks
from bsbpool import WorkflowError, create_job_pool, services
from bsbpool.listeners import OpenTelemetryListener

pytestmark = pytest.mark.interop

HALF_SECOND = 5 * 10**8
"""In ns. The two clocks are compared once, and another process may interrupt that."""


def provider_and_exporter() -> tuple[Any, Any]:
    """Return a provider of tracers, and the exporter that keeps its spans in memory."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


class Spans:
    """A tracer, and the spans that it has made."""

    def __init__(self) -> None:
        provider, self._exporter = provider_and_exporter()
        self.tracer = provider.get_tracer("test")

    def named(self, name: str) -> list[Any]:
        """Return the finished spans of a name."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> Any:
        """Return the only finished span of a name."""
        (span,) = self.named(name)
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Yield a tracer of its own, so that the global provider stays unchanged."""
    yield Spans()


def work(owner: Any, n: int, *after: Any) -> int:
    """Fail for a negative number."""
    time.sleep(0.01)
    if n < 0:
        raise ValueError(f"{n} is negative")
    return n


def flaky(owner: Any, tries: list[int]) -> None:
    """Fail once."""
    tries.append(1)
    if len(tries) == 1:
        raise ValueError("once")


def test_a_span_for_each_job_and_one_for_the_run(spans: Spans) -> None:
    before = time.time_ns()
    with spans.tracer.start_as_current_span("caller"):
        pool = create_job_pool(quiet=True)
        pool.add_listener(OpenTelemetryListener(spans.tracer))
        with pool:
            first = pool.submit(work, 1)
            pool.submit(work, 2, first)
            pool.execute()
    caller, run = spans.one("caller"), spans.one("bsbpool.execute")
    jobs = spans.named("work")
    assert run.parent.span_id == caller.context.span_id
    assert [job.parent.span_id for job in jobs] == [run.context.span_id] * 2
    assert {span.context.trace_id for span in (run, *jobs)} == {caller.context.trace_id}
    for job in jobs:
        assert before <= run.start_time <= job.start_time + HALF_SECOND
        assert 0.01 <= (job.end_time - job.start_time) * 1e-9 < 5
        assert job.end_time <= run.end_time + HALF_SECOND
        assert job.status.is_unset
    assert jobs[0].end_time <= jobs[1].start_time
    assert [job.attributes["bsbpool.job.label"] for job in jobs] == [
        "job 0 'work(1)'",
        "job 1 'work(2, <FunctionJob>)'",
    ]
    assert jobs[0].attributes["mpi.rank"] == 0
    assert jobs[0].attributes["mpi.size"] == 1
    assert jobs[0].attributes["bsbpool.job.status"] == "success"


def test_failures(spans: Spans) -> None:
    pool = create_job_pool(quiet=True)
    pool.add_listener(OpenTelemetryListener(spans.tracer))
    with pytest.raises(WorkflowError), pool:
        bad = pool.submit(work, -1)
        pool.submit(work, 2, deps=[bad])
        pool.execute()
    failed, cancelled = spans.named("work")
    assert not failed.status.is_ok and failed.status.description == "-1 is negative"
    assert failed.events[0].attributes["exception.message"] == "-1 is negative"
    assert cancelled.attributes["bsbpool.job.status"] == "cancelled"
    assert not spans.one("bsbpool.execute").status.is_ok


def test_attempts(spans: Spans) -> None:
    pool = create_job_pool(quiet=True)
    pool.add_listener(OpenTelemetryListener(spans.tracer))
    with pool:
        pool.options(retries=1).submit(flaky, [])
        pool.execute()
    job = spans.one("flaky")
    assert job.attributes["bsbpool.job.attempts"] == 2
    assert [event.attributes["error"] for event in job.events] == ["ValueError('once')"]


def test_two_pools_have_a_span_each(spans: Spans) -> None:
    listener = OpenTelemetryListener(spans.tracer)
    for _ in range(2):
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        with pool:
            pool.submit(work, 1)
            pool.execute()
    first, second = spans.named("bsbpool.execute")
    assert first.context.trace_id != second.context.trace_id
    assert [job.parent.span_id for job in spans.named("work")] == [
        first.context.span_id,
        second.context.span_id,
    ]


def test_added_inside_of_the_block(spans: Spans) -> None:
    with create_job_pool(quiet=True) as pool:
        with spans.tracer.start_as_current_span("caller"):
            pool.add_listener(OpenTelemetryListener(spans.tracer))
        pool.submit(work, 1)
        pool.execute()
        caller, run = spans.one("caller"), spans.one("bsbpool.execute")
        assert run.context.trace_id == caller.context.trace_id


def test_without_the_package_an_error_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r"bsbpool\[otel\]"):
        OpenTelemetryListener()


def nested(owner: Any, n: int, table: Any = None) -> int:
    """Start a span in the job."""
    from opentelemetry import trace

    with trace.get_tracer("test").start_as_current_span("nested") as span:
        span.set_attribute("n", n)
        return n


def gather_spans(exporter: Any) -> list[tuple[str, int, int, int | None, Any]]:
    """Return on rank 0 the finished spans of all ranks: name, trace, id, parent, attribute n."""
    own = [
        (s.name, s.context.trace_id, s.context.span_id, s.parent and s.parent.span_id,
         s.attributes.get("n", s.attributes.get("bsbpool.job.number")))
        for s in exporter.get_finished_spans()
    ]  # fmt: skip
    gathered = services.MPI.get_communicator().gather(own)
    return [span for spans in gathered or () for span in spans]


def check_nested(main_works: bool) -> None:
    import numpy as np
    from opentelemetry import trace

    provider, exporter = provider_and_exporter()
    trace.set_tracer_provider(provider)
    pool = create_job_pool(quiet=True, main_works=main_works)
    pool.add_listener(OpenTelemetryListener())
    table = np.arange(100_000)  # sent out of band with the function
    with pool:
        if pool.is_main():
            pool.queue_many(nested, [(n,) for n in range(10)])
            pool.submit(lambda owner, n: nested(owner, n + len(table) - 100_000), 10)
            pool.options(retries=1).submit(nested, 11)
        pool.execute()
    with create_job_pool(quiet=True, main_works=main_works) as other:  # without the listener
        job = other.submit(nested, 12) if other.is_main() else None
        other.execute()
        assert job is None or job.result == 12
    spans = gather_spans(exporter)
    if services.MPI.get_rank():
        return
    (run,) = [span for span in spans if span[0] == "bsbpool.execute"]
    inner = {span[4]: span for span in spans if span[0] == "nested" and span[3] != run[2]}
    jobs = {span[4]: span for span in spans if span[3] == run[2]}
    assert sorted(inner) == list(range(13)) and sorted(jobs) == list(range(12))
    for n in range(12):
        assert inner[n][1] == jobs[n][1] == run[1]
        assert inner[n][3] == jobs[n][2], n
    assert inner[12][3] is None and inner[12][1] != run[1]
    assert len({span[2] for span in jobs.values()}) == 12


@on_ranks(3)
def test_spans_of_workers_are_children_of_their_jobs() -> None:
    check_nested(main_works=False)


@on_ranks(2)
def test_spans_of_workers_are_children_of_their_jobs_if_rank_0_works() -> None:
    check_nested(main_works=True)


@on_ranks(3)
def test_the_trace_of_bsb_otel_on_three_ranks() -> None:
    from bsb_otel.tracer import get_bsb_tracer
    from opentelemetry import trace

    provider, exporter = provider_and_exporter()
    trace.set_tracer_provider(provider)
    with get_bsb_tracer("bsb-otel").trace("reconstruction"):
        here = trace.get_current_span().get_span_context().trace_id
        pool = create_job_pool(quiet=True)
        pool.add_listener(OpenTelemetryListener())
        with pool:
            if pool.is_main():
                pool.queue_many(work, [(n,) for n in range(20)])
            pool.execute()
    root = services.MPI.bcast(here, root=0)
    assert here == root
    jobs = [span for span in exporter.get_finished_spans() if span.name == "work"]
    if services.MPI.get_rank():
        assert jobs == []
        return
    assert len(jobs) == 20
    assert {span.context.trace_id for span in jobs} == {root}
    assert {span.attributes["mpi.rank"] for span in jobs} == {1, 2}
    assert {span.attributes["mpi.size"] for span in jobs} == {3}
    by_rank = sorted((job.attributes["mpi.rank"], job.start_time, job.end_time) for job in jobs)
    for (rank, _, end), (other, start, _) in itertools.pairwise(by_rank):
        assert rank != other or end <= start + 2_000
