"""Running one job's function, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from bsbpool._core.jobs.invoke import CallDepth


class Running(CallDepth):
    """What is true of this process while it runs jobs.

    Attributes
    ----------
    inside_job : int
        How many jobs are being run, one inside the other.
    apart : bool
        Whether the other ranks do not run this program but serve its executors, so that nobody
        would answer what is collective.
    preparations : list of callable
        Called before a pool executes.
    job contexts : list of callable
        Each makes a context manager that jobs from another rank and schedulers run in.
    """

    def __init__(self) -> None:
        self.apart = False
        self.preparations: list[Callable[[], Any]] = []
        self.job_contexts: list[Callable[[], AbstractContextManager[Any]]] = []

    def call(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function of a job."""
        self.inside_job += 1
        try:
            return f(*args, **kwargs)
        finally:
            self.inside_job -= 1

    @contextmanager
    def in_contexts(self) -> Iterator[None]:
        """Enter the job contexts, for what runs on one rank while the others do something else."""
        with ExitStack() as stack:
            for job_context in self.job_contexts:
                stack.enter_context(job_context())
            yield

    def call_in_contexts(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function of a job that another rank sent."""
        if not self.job_contexts:
            return self.call(f, *args, **kwargs)
        with self.in_contexts():
            return self.call(f, *args, **kwargs)


running = Running()
"""Of this process."""
