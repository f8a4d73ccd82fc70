"""What is known of a task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

KEYS = (
    "msg_id", "submitted", "started", "completed", "received", "engine_id", "engine_uuid",
    "follow", "after", "status", "error", "stdout", "stderr", "outputs", "data", "execute_input",
    "execute_result", "label", "pyin", "pyout", "pyerr",
)  # fmt: skip
"""The keys. The last three are the names of older versions."""


class Metadata(dict[str, Any]):
    """The metadata of a task: a dictionary with its keys as attributes.

    Times are aware datetimes in UTC, on the clock of the client.
    """

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self:
            raise AttributeError(f"metadata has no key {name!r}")
        self[name] = value


def as_datetime(seconds: float | None) -> datetime | None:
    """Return a time of `time.time` as a datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


class ExecutionCount(int):
    """The number of an execution of code, which is the result of its task."""


class ExecuteReply:
    """The result of executed code.

    Attributes
    ----------
    metadata : Metadata
        The metadata of the task.
    execution_count : int
        The number of the execution on its engine.
    """

    def __init__(self, metadata: Metadata, execution_count: int) -> None:
        self.metadata, self.execution_count = metadata, execution_count

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_repr_"):
            return self._representation(name)
        metadata = self.__dict__.get("metadata", {})
        if name in metadata:
            return metadata[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getitem__(self, key: str) -> Any:
        return self.metadata[key]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExecuteReply) and self["msg_id"] == other["msg_id"]

    def __hash__(self) -> int:
        return hash(self["msg_id"])

    @property
    def _bundle(self) -> dict[str, Any]:
        result = self.__dict__["metadata"]["execute_result"] or {}
        bundle: dict[str, Any] = result.get("data", {})
        return bundle

    @property
    def source(self) -> str | None:
        """The code."""
        source: str | None = self.metadata["execute_input"]
        return source

    def __str__(self) -> str:
        text = self._bundle.get("text/plain", "")
        return f"<ExecuteReply[{self.execution_count}]: {text}>"

    __repr__ = __str__

    def _representation(self, name: str) -> Any:
        mime = _MIME.get(name)
        if mime is None or mime not in self._bundle:
            raise AttributeError(name)
        data = self._bundle[mime]
        extra = self.metadata["execute_result"].get("metadata") or {}
        known = extra.get(mime)
        return lambda: (data, known) if known is not None else data


_MIME = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_svg_": "image/svg+xml",
    "_repr_pdf_": "application/pdf",
}
