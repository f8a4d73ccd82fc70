"""The kinds of jobs: jobs that one function does, or that one object submitted.

A display has a row for each kind. `bsbpool.naming.kind_of` defines the names.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from bsbpool.jobs import Job
from bsbpool.naming import attribute, kind_key, kind_text, shortened

T = TypeVar("T")

MOST_KINDS = 200
"""Kinds that are counted separately. Names may be different for each job."""
MOST_KEYS = 10_000
OTHERS = "others"


class KindCounts:
    """Counts the jobs of one kind.

    Jobs that are neither running nor ended wait; they are not counted separately.

    Attributes
    ----------
    name : str
        The name of the kind.
    total, running, succeeded, failed, cancelled, aborted : int
        The numbers of jobs.
    """

    __slots__ = ("aborted", "cancelled", "failed", "name", "running", "succeeded", "total")

    def __init__(self, name: str) -> None:
        self.name = name
        self.total = self.running = 0
        self.succeeded = self.failed = self.cancelled = self.aborted = 0

    def __iadd__(self, other: KindCounts) -> KindCounts:
        self.total += other.total
        self.running += other.running
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.aborted += other.aborted
        return self

    @property
    def unsuccessful(self) -> int:
        """The number of jobs that have ended without success."""
        return self.failed + self.cancelled + self.aborted

    @property
    def done(self) -> int:
        """The number of jobs that have ended."""
        return self.succeeded + self.failed + self.cancelled + self.aborted

    @property
    def ran(self) -> int:
        """The number of jobs that have run to their end."""
        return self.succeeded + self.failed

    @property
    def left(self) -> int:
        """The number of jobs that have not ended."""
        return self.total - self.done


class KindCache(Generic[T]):
    """Keeps something for each kind, so that it is made once for jobs that do the same.

    Parameters
    ----------
    make : callable
        Makes it from the name of the kind.
    """

    def __init__(self, make: Callable[[str], T]) -> None:
        self._make = make
        self._by_key: dict[tuple[int, str], tuple[Any, T]] = {}

    def get(self, key: Any) -> T:
        """Return what belongs to a key, which `kind_key` has returned for a job."""
        kept = _kept_part(key)
        if kept is None:
            return self._make(kind_text(key))
        # Functions that one decorator has made share their code, and have names of their own.
        place = id(kept), key.__qualname__ if type(key) is types.FunctionType else ""
        found = self._by_key.get(place)
        if found is not None:
            return found[1]
        made = self._make(kind_text(key))
        if len(self._by_key) < MOST_KEYS:
            self._by_key[place] = kept, made  # a reference, so that the id stays the same
        return made


class Kinds:
    """The counts of all kinds, in the order in which the kinds occurred."""

    def __init__(self) -> None:
        self._by_name: dict[str, KindCounts] = {}
        self._by_key = KindCache(self.named)

    def named(self, name: str) -> KindCounts:
        """Return the counts of a name, which is shortened."""
        name = shortened(name)
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= MOST_KINDS:
                name = OTHERS
            found = self._by_name.setdefault(name, KindCounts(name))
        return found

    def of_job(self, job: Job[Any]) -> KindCounts:
        """Return the counts of the kind of a job."""
        return self._by_key.get(kind_key(job))

    def of_function(self, f: Any) -> KindCounts:
        """Return the counts of the calls of a function."""
        return self._by_key.get(f)

    def all(self) -> list[KindCounts]:
        """Return the counts of all kinds."""
        return list(self._by_name.values())

    def sum(self) -> KindCounts:
        """Return the counts of all jobs."""
        total = KindCounts("")
        for counts in self.all():
            total += counts
        return total


def _kept_part(key: Any) -> Any:
    """Return an object that lives as long as others of the same name; None if there is none.

    Functions, methods and partials are often made for each job, and refer to large objects.
    """
    kind = type(key)
    if kind is types.MethodType:
        key = key.__func__
        kind = type(key)
    if kind is types.FunctionType:
        return key.__code__
    if kind is types.BuiltinFunctionType or isinstance(key, type):
        return key
    return None if callable(key) or attribute(kind, "get_node_name") is None else key
