from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bsbpool._core.jobs.dependency_sets import DependencySets
from bsbpool._core.scheduling.engine import Engine

class Submitter:
    _job_queue: list[Any]
    _store: Any
    _on_job_end: Any
    @property
    def _engine(self) -> Engine: ...
    @property
    def _sets(self) -> DependencySets: ...
    @property
    def _accepts(self) -> bool: ...
    def _open_submission(
        self, statuses: Iterable[Any], job_class: type, requires_put: bool
    ) -> None: ...
    def _close_submission(self) -> None: ...
    def _disable_gc_tracking(self) -> None: ...
    def _release_jobs(self) -> None: ...
    def queue(
        self,
        f: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        deps: Iterable[Any] | None = None,
        **context: Any,
    ) -> Any: ...
    def queue_many(
        self,
        f: Callable[..., Any],
        argses: Iterable[Iterable[Any]],
        kwargs: Mapping[str, Any] | None = None,
        deps: Iterable[Any] | None = None,
        **context: Any,
    ) -> list[Any]: ...
    def _queue_for_future(
        self,
        future: Any,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        deps: Iterable[Any] | None = None,
        cache_set: int = -1,
    ) -> None: ...
    def _release_job(self, job: Any) -> tuple[Any, bool]: ...
    def _submit_job(self, job: Any, deps: Any, cache_set: int, tracked: bool) -> None: ...
    def _results(self) -> dict[Any, Any]: ...
