from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bsbpool._core.jobs.dependency_sets import DependencySets
from bsbpool._core.scheduling.engine import Engine

def check_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> None: ...

class Submitter:
    _job_queue: list[Any]
    _store: Any
    _on_end: Any
    @property
    def _engine(self) -> Engine: ...
    @property
    def _sets(self) -> DependencySets: ...
    def _open_submission(self, statuses: Iterable[Any], kind: type, puts: bool) -> None: ...
    @property
    def _accepts(self) -> bool: ...
    def _close_submission(self) -> None: ...
    def _untrack_jobs(self) -> None: ...
    def _drop_jobs(self) -> None: ...
    def _queue_for(
        self,
        waiter: Any,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        deps: Iterable[Any] | None = None,
        cache_set: int = -1,
    ) -> None: ...
    def _drop_job(self, job: Any) -> tuple[Any, bool]: ...
    def _enter(self, job: Any, deps: Any, cache_set: int, tracked: bool) -> None: ...
    def _results(self) -> dict[Any, Any]: ...
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
