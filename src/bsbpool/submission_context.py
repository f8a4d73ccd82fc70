"""Who submitted a job, and what is known about the submission."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from bsbpool.naming import node_name


class SubmissionContext:
    """Who submitted a job, and what they said about it.

    Parameters
    ----------
    submitter : object
        Who submitted the job.
    chunks : iterable, optional
        The parts of the network that the job is about.
    **kwargs
        Anything else; readable as attributes.
    """

    def __init__(self, submitter: Any, chunks: Iterable[Any] | None = None, **kwargs: Any) -> None:
        self._submitter = submitter
        self._chunks = chunks
        self._context = kwargs

    @property
    def name(self) -> str:
        """The submitter's node name, or its ``str``; a substitute if that raises."""
        return node_name(self._submitter)

    @property
    def submitter(self) -> Any:
        """Who submitted the job."""
        return self._submitter

    @property
    def chunks(self) -> Any:
        """The chunks, as bsb's `chunklist` where bsb is in use; None when not given."""
        if self._chunks is None:
            return None
        bsb_chunks = sys.modules.get("bsb.storage._chunks")
        return list(self._chunks) if bsb_chunks is None else bsb_chunks.chunklist(self._chunks)

    @property
    def context(self) -> dict[str, Any]:
        """A copy of what else was said."""
        return dict(self._context)

    def __getattr__(self, key: str) -> Any:
        if key in self.__dict__.get("_context", ()):
            return self._context[key]
        raise AttributeError(f"the submission context has no attribute {key!r}")
