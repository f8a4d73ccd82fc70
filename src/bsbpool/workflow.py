"""Workflows: sequences of phases, each of which a pool runs."""

from __future__ import annotations

from collections.abc import Iterable

from bsbpool.naming import brief


class Workflow:
    """A sequence of named phases, one of which is the present one.

    Parameters
    ----------
    phases : iterable of str
        The names in order.

    Examples
    --------
    >>> workflow = Workflow(["placement", "connectivity"])
    >>> workflow.phase
    'placement'
    >>> workflow.next_phase()
    'connectivity'
    >>> workflow.next_phase(), workflow.finished
    ('finished', True)
    """

    def __init__(self, phases: Iterable[str]) -> None:
        if isinstance(phases, str) or not hasattr(phases, "__iter__"):
            raise TypeError(f"phases must be a list of names, got {brief(phases)}")
        self._phases = list(phases)
        self._index = 0

    @property
    def phases(self) -> list[str]:
        """The names of all phases, in order."""
        return list(self._phases)

    @property
    def finished(self) -> bool:
        """Whether the last phase is over."""
        return self._index >= len(self._phases)

    @property
    def phase(self) -> str:
        """The name of the present phase; ``"finished"`` after the last one."""
        return "finished" if self.finished else self._phases[self._index]

    def next_phase(self) -> str:
        """Advance to the next phase and return its name."""
        self._index = min(self._index + 1, len(self._phases))
        return self.phase
