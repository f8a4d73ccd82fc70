"""Calling the functions of jobs, and the state of this process while it does so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from bsbpool._core.jobs.invoke import CallDepth
from bsbpool._typing import Any


class Running(CallDepth):
    """The state of this process with regard to jobs.

    Attributes
    ----------
    inside_job : int
        The number of jobs that this process is inside of, one within the other.
    workers_dedicated : bool
        Whether the other ranks only run the calls of executors and not this program, so that
        collective calls would hang.
    before_execute : list of callable
        Called before a pool executes.
    job_contexts : list of callable
        Each makes a context manager, which is entered for jobs of other ranks and for schedulers.
    """

    def __init__(self) -> None:
        self.workers_dedicated = False
        self.before_execute: list[Callable[[], object]] = []
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
        """Enter the job contexts, for code that one rank runs without the others."""
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
"""The state of this process."""
