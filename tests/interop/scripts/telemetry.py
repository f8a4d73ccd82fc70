"""Traces a compilation with a configured SDK: spans of ranks that diverge must not meet."""

# ruff: noqa: I001  (scenes comes first: it installs the pool)

from __future__ import annotations

from typing import Any

import scenes
from scenes import comm, folder

import journal
import tissue
from bsb import Scaffold
from bsb_otel.testing import broadcast_root
from bsb_otel.tracer import _trace_comm, get_bsb_tracer
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = get_bsb_tracer("bsb-core")


def spans() -> list[dict[str, Any]]:
    """Return the spans that ended on this rank since the last call."""
    ended = exporter.get_finished_spans()
    exporter.clear()
    return [
        {"name": span.name, "trace": span.context.trace_id, "child": span.parent is not None}
        for span in ended
    ]


def traced(scaffold: Any, number: int) -> list[int]:
    """Run as a job that opens spans, more on some ranks than on others."""
    sizes = [_trace_comm.get().Get_size()] if _trace_comm.get() else []
    for _ in range(number % 3 + 1):
        with tracer.trace(f"step {number}"):
            pass
    return sizes


def queue_and_run(pool: Any) -> Any:
    if pool.is_main():
        for number in range(12):
            pool.queue(traced, (number,))
    return [*(pool.execute(return_results=True) or {}).values()]


def without_a_root() -> Any:
    """Each rank for itself."""
    with network.create_job_pool(quiet=True) as pool:
        communicators = queue_and_run(pool)
    return {"spans": spans(), "communicators": communicators}


def below_a_root() -> Any:
    """All spans of all ranks belong to one trace."""
    with broadcast_root(tracer, "root") as root:
        trace_id = root.get_span_context().trace_id
        with network.create_job_pool(quiet=True) as pool:
            queue_and_run(pool)
    return {"spans": spans(), "root": trace_id}


def compiled(**options: Any) -> Any:
    network.compile(**options)
    comm.Barrier()
    return {"spans": spans(), "journal": journal.take()}


def compiled_below_a_root() -> Any:
    with broadcast_root(tracer, "root"):
        return compiled()


def together() -> Any:
    """The ranks can still open a span together."""
    with tracer.trace("together") as span:
        trace_id = span.get_span_context().trace_id
    spans()
    return len(set(comm.allgather(trace_id)))


def compiled_without_a_root() -> Any:
    """Main schedules, and traces, what the others do not."""
    return compiled(clear=True)


network = Scaffold(tissue.configuration(folder / "tissue.hdf5"))
network.register_listener(lambda event: None)
spans()
scenes.play(without_a_root, below_a_root, compiled_below_a_root, together, compiled_without_a_root)
