"""BSB's kinds of jobs."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from bsbpool import function_job, submission_context
from bsbpool._typing import Any, Protocol, TypeVar
from bsbpool.jobs import Job
from bsbpool.owning_pool import OwningPool
from bsbpool.run_context import RunContext

T = TypeVar("T")


class CachingPool(OwningPool, Protocol):
    """The part of a pool that jobs of nodes need."""

    run_context: RunContext


class SubmissionContext(submission_context.SubmissionContext):
    """The submitter of a job, with the chunks as BSB's `chunklist`."""

    @property
    def chunks(self) -> Any:
        """The chunks, as `chunklist` if BSB's storage is in use; None if there are none."""
        bsb_chunks = sys.modules.get("bsb.storage._chunks")
        chunks = super().chunks
        return chunks if chunks is None or bsb_chunks is None else bsb_chunks.chunklist(chunks)


class FunctionJob(function_job.FunctionJob[T]):
    """A call of ``f(scaffold, *args, **kwargs)``."""

    __slots__ = ()

    def _make_context(self, submitter: Any, keywords: dict[str, Any]) -> SubmissionContext:
        return SubmissionContext(submitter, **keywords)


class PlacementJob(Job[Any]):
    """Runs a placement strategy of the scaffold on one chunk."""

    __slots__ = ()

    def __init__(
        self,
        pool: CachingPool,
        strategy: Any,
        chunk: Any,
        deps: Iterable[Job[Any]] | None = None,
    ) -> None:
        super().__init__(
            pool,
            SubmissionContext(strategy, [chunk]),
            (strategy.name, chunk),
            {},
            deps=deps,
            cache_items=pool.run_context.cache_requirements.of_node(strategy),
        )

    @staticmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        """Place the cells of the chunk."""
        name, chunk = args
        strategy = job_owner.placement[name]
        return strategy.place(chunk, strategy.get_indicators(), **kwargs)


class ConnectivityJob(Job[Any]):
    """Runs a connectivity strategy of the scaffold on two regions of interest."""

    __slots__ = ()

    def __init__(
        self,
        pool: CachingPool,
        strategy: Any,
        pre_roi: Iterable[Any] | None,
        post_roi: Iterable[Any] | None,
        deps: Iterable[Job[Any]] | None = None,
    ) -> None:
        pre = None if pre_roi is None else list(pre_roi)
        post = None if post_roi is None else list(post_roi)
        chunks = None if pre is None and post is None else [*(pre or ()), *(post or ())]
        super().__init__(
            pool,
            SubmissionContext(strategy, chunks),
            (strategy.name, pre, post),
            {},
            deps=deps,
            cache_items=pool.run_context.cache_requirements.of_node(strategy),
        )

    @staticmethod
    def execute(job_owner: Any, args: Any, kwargs: Any) -> Any:
        """Connect the cells of the regions."""
        name, pre, post = args
        strategy = job_owner.connectivity[name]
        # The strategy turns its regions into collections of cells.
        return strategy.connect(*strategy._get_connect_args_from_job(pre, post), **kwargs)
