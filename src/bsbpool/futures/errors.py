"""The errors of executors."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor


class InitializerError(BrokenExecutor):
    """The initializer of an executor raised on a worker, so the executor runs nothing more."""


class BrokenPoolError(BrokenExecutor):
    """The pool of an executor has ended before the executor did; the cause says why."""
