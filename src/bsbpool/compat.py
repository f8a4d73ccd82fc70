"""Names of bsb's own pool that other code reaches for though they are private there.

Nothing in bsbpool uses them. They answer from what this pool knows, so that code
written for bsb's internals (its tests foremost) sees what it expects to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bsbpool import caching

if TYPE_CHECKING:
    from bsbpool.pool import JobPool
    from bsbpool.progress import Listener, PoolProgress


class PrivateNames:
    """To be inherited by `JobPool`."""

    _buffer: Any = None
    _mpipool: Any = None
    _running_futures: tuple[Any, ...] = ()

    def _read_required_cache_items(self: Any) -> set[caching.CacheId]:
        return caching.ids_of(self._run.needed_tokens())

    def _update_cache_window(self) -> None:
        """Do nothing: releases ride on the messages of jobs."""

    @property
    def _cache_window(self: Any) -> CacheWindow:
        return CacheWindow(self)

    @property
    def _cache_buffer(self) -> Any:
        if self._buffer is None:
            import numpy

            self._buffer = numpy.zeros(1000, dtype=numpy.uint64)
        return self._buffer

    @property
    def _max_wait(self: Any) -> float:
        return self._reporter.event_queue.max_wait  # type: ignore[no-any-return]

    @property
    def _listeners(self: Any) -> list[Listener]:
        return self._reporter.event_queue.listeners  # type: ignore[no-any-return]

    @property
    def _progress_notifications(self: Any) -> list[PoolProgress]:
        return list(self._reporter.event_queue.waiting)

    @property
    def _unhandled_errors(self: Any) -> list[Exception]:
        return list(self._reporter.failures.values())


class CacheWindow:
    """The RMA window of bsb's pool as far as callers use it; nothing is remote here."""

    def __init__(self, pool: JobPool) -> None:
        self._pool = pool

    def Lock(self, rank: int) -> None:
        """Do nothing."""

    def Unlock(self, rank: int) -> None:
        """Do nothing."""

    def Get(self, bufspec: Any, rank: int) -> None:
        """Fill the buffer with the ids that are required, and zeros."""
        buffer = bufspec[0]
        ids = [caching.visible_id(token) for token in self._pool._run.needed_tokens()]
        buffer[:] = 0
        buffer[: len(ids)] = ids[: len(buffer)]
