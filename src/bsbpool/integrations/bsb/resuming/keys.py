"""The keys of BSB's jobs in the journal, and the jobs of a phase before they are queued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from bsbpool.integrations.bsb.jobs import ConnectivityJob, PlacementJob
from bsbpool.integrations.bsb.resuming.state import CompileState
from bsbpool.journal.digests import stable_digest
from bsbpool.naming import name_of

Chunks = frozenset[int] | None
"""The ids of some chunks; None for all."""


class PlannedJob(NamedTuple):
    """A job that a node of the configuration queues.

    Attributes
    ----------
    text : str
        The text of its key, without the number of times that its end was discarded.
    node : object
        The node.
    chunks : frozenset of int, or None
        The chunks in which it may place cells.
    pre, post : frozenset of int, or None
        The chunks whose cells it may connect.
    """

    text: str
    node: Any
    chunks: Chunks = None
    pre: Chunks = None
    post: Chunks = None


class PhaseKeys:
    """Makes the keys of the jobs of one phase, in the order in which they are queued.

    Parameters
    ----------
    state : CompileState
        The state of the compile.
    phase : str
        The phase.
    """

    def __init__(self, state: CompileState, phase: str) -> None:
        self._again = state.again
        self._start = f"{state.run}/{phase}.{state.discards.get(phase, 0)}"
        self._made: Counter[str] = Counter()

    def text_of(self, node: Any, call: Any) -> str:
        """Return the text of the key of a job; `call` is what tells it from others of its node."""
        text = f"{self._start}/{getattr(node, 'name', None)}/{call}"
        self._made[text] += 1
        return f"{text}/{self._made[text]}"

    def key_of(self, text: str) -> str:
        """Return the key of a job with a text."""
        return f"{text}/{self._again.get(text, 0)}"

    def of_job(self, job: Any) -> str:
        """Return the key of a job that is queued."""
        given, kwargs = job.own_arguments
        if isinstance(job, PlacementJob):
            call = placement_call(given[1])
        elif isinstance(job, ConnectivityJob):
            call = connectivity_call(*given[1:])
        else:
            f, args, kwargs = job.function_call or (type(job), given, kwargs)
            call = function_call(f, args, kwargs)
        return self.key_of(self.text_of(job.submitter, call))


def ids_of(chunks: Iterable[Any] | None) -> Chunks:
    """Return the ids of chunks."""
    return None if chunks is None else frozenset(int(chunk.id) for chunk in chunks)


def placement_call(chunk: Any) -> str:
    """Return what tells a placement job from others of its strategy."""
    return f"place {int(chunk.id)}"


def connectivity_call(pre: Any, post: Any) -> str:
    """Return what tells a connectivity job from others of its strategy."""
    sides = [None if side is None else sorted(ids_of(side) or ()) for side in (pre, post)]
    return f"connect {stable_digest(sides)}"


def function_call(f: Any, args: Any, kwargs: Any) -> str:
    """Return what tells a call of a function from others of its node: their order, at least."""
    try:
        return f"{name_of(f)} {stable_digest((tuple(args or ()), dict(kwargs or {})))}"
    except TypeError:
        return name_of(f)


class Plan:
    """Stands in for a pool, and lists the jobs that nodes queue.

    Parameters
    ----------
    keys : PhaseKeys
        Makes the keys.

    Attributes
    ----------
    jobs : list of PlannedJob
        The jobs.
    """

    def __init__(self, keys: PhaseKeys) -> None:
        self._keys = keys
        self.jobs: list[PlannedJob] = []

    def queue_placement(self, strategy: Any, chunk: Any, deps: Any = None) -> PlannedJob:
        """List the placement of a chunk; a chunk without a size stands for all."""
        import numpy

        text = self._keys.text_of(strategy, placement_call(chunk))
        whole = chunk.dimensions is None or bool(numpy.isnan(chunk.dimensions).any())
        return self._add(PlannedJob(text, strategy, None if whole else ids_of([chunk])))

    def queue_connectivity(
        self, strategy: Any, pre_roi: Any, post_roi: Any, deps: Any = None
    ) -> PlannedJob:
        """List the connection of two regions."""
        pre = None if pre_roi is None else list(pre_roi)
        post = None if post_roi is None else list(post_roi)
        text = self._keys.text_of(strategy, connectivity_call(pre, post))
        return self._add(PlannedJob(text, strategy, None, ids_of(pre), ids_of(post)))

    def queue(
        self, f: Any, args: Any = None, kwargs: Any = None, deps: Any = None, **context: Any
    ) -> PlannedJob:
        """List the call of a function, which may write anywhere."""
        node = context.get("submitter", f)
        return self._add(PlannedJob(self._keys.text_of(node, function_call(f, args, kwargs)), node))

    def get_submissions_of(self, node: Any) -> list[PlannedJob]:
        """Return the jobs of a node."""
        return [job for job in self.jobs if job.node is node]

    def _add(self, job: PlannedJob) -> PlannedJob:
        self.jobs.append(job)
        return job
