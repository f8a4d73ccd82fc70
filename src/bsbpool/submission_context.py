"""The submitter of a job, and further information that the job was queued with."""

from __future__ import annotations

from collections.abc import Iterable

from bsbpool._typing import Any
from bsbpool.naming import node_name


class SubmissionContext:
    """The submitter of a job, and further information about the job.

    Parameters
    ----------
    submitter : object
        The object that submitted the job.
    chunks : iterable, optional
        The parts of a data set that the job is about.
    **kwargs
        Any further information; readable as attributes.
    """

    def __init__(self, submitter: Any, chunks: Iterable[Any] | None = None, **kwargs: Any) -> None:
        self._submitter = submitter
        self._chunks = chunks
        self._context = kwargs

    @property
    def name(self) -> str:
        """The submitter's node name, or its ``str``; a substitute text if that raises."""
        return node_name(self._submitter)

    @property
    def submitter(self) -> Any:
        """The object that submitted the job."""
        return self._submitter

    @property
    def chunks(self) -> list[Any] | None:
        """The chunks as a new list; None if there are none."""
        return None if self._chunks is None else list(self._chunks)

    @property
    def context(self) -> dict[str, Any]:
        """The further information, as a new dictionary."""
        return dict(self._context)

    def __getattr__(self, key: str) -> Any:
        if key in self.__dict__.get("_context", ()):
            return self._context[key]
        raise AttributeError(f"the submission context has no attribute {key!r}")
