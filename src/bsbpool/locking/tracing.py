"""Spans of OpenTelemetry, with the names and attributes that the package mpilock gives them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


class LockSpan:
    """The span of a block that has the lock. It begins when the object is made.

    Parameters
    ----------
    kind : str
        "read" or "write".
    rank, master : int
        The rank of this process, and the one that writes by default.
    attributes : dict
        Further attributes.
    """

    def __init__(self, kind: str, rank: int, master: int, attributes: dict[str, bool]) -> None:
        from opentelemetry.trace import get_tracer

        self._tracer, self._kind, self._rank = get_tracer("mpilock"), kind, rank
        self._span = self._tracer.start_as_current_span(
            f"mpilock.{kind}",
            attributes={
                "mpi.rank": rank,
                "mpi.master": master,
                **{f"mpilock.{name}": value for name, value in attributes.items()},
            },
        )
        self._span.__enter__()

    def wait(self) -> AbstractContextManager[Any]:
        """Return a span of waiting for the lock."""
        span: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            f"mpilock.{self._kind}.wait", attributes={"mpi.rank": self._rank}
        )
        return span

    def __exit__(self, *error: Any) -> None:
        self._span.__exit__(*error)
