"""Lines of source in tracebacks that were printed where their files cannot be read."""

from __future__ import annotations

import linecache
import re

_FRAME = re.compile(r'(?P<indent>[ |]*)File "(?P<file>.+)", line (?P<number>\d+)(, in .*)?$')


def with_source(text: str) -> str:
    """Return a traceback's text with the lines of source that this process knows.

    A worker may not see the script's file, and never sees the cells of a notebook.
    """
    lines: list[str] = []
    frame = None
    for line in text.split("\n"):
        if frame is not None and not _is_source(line, frame["indent"]):
            source = linecache.getline(frame["file"], int(frame["number"])).strip()
            lines += [f"{frame['indent']}  {source}"] if source else []
        frame = _FRAME.match(line)
        lines.append(line)
    return "\n".join(lines)


def _is_source(line: str, indent: str) -> bool:
    """Whether a line is below the one of a frame, and further in."""
    return line.startswith(indent + "  ")
