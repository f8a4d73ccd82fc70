"""What the checks find."""

from __future__ import annotations

from dataclasses import asdict, dataclass

PROBLEM, NOTE = "problem", "note"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or that a user should know.

    Attributes
    ----------
    code : str
        A short name that does not change between versions.
    text : str
        What was found.
    remedy : str
        What to do about it.
    severity : str
        "problem" or "note". Only problems change the exit code.
    """

    code: str
    text: str
    remedy: str
    severity: str = PROBLEM

    @property
    def is_problem(self) -> bool:
        """Whether the finding keeps programs from running as they should."""
        return self.severity == PROBLEM

    def as_dict(self) -> dict[str, str]:
        """Return the attributes by name."""
        return asdict(self)
