"""Running one job's function, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from bsbpool._core.calling import Nesting


class Running(Nesting):
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
    surroundings : list of callable
        Each makes a context manager that jobs from another rank and schedulers run in.
    """

    def __init__(self) -> None:
        self.apart = False
        self.preparations: list[Callable[[], Any]] = []
        self.surroundings: list[Callable[[], AbstractContextManager[Any]]] = []

    def call(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function of a job."""
        self.inside_job += 1
        try:
            return f(*args, **kwargs)
        finally:
            self.inside_job -= 1

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        """Enter the surroundings, for what runs on one rank while the others do something else."""
        with ExitStack() as stack:
            for surrounding in self.surroundings:
                stack.enter_context(surrounding())
            yield

    def call_surrounded(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function of a job that another rank sent."""
        if not self.surroundings:
            return self.call(f, *args, **kwargs)
        with self.surrounded():
            return self.call(f, *args, **kwargs)


running = Running()
"""Of this process."""
