"""Source lines for tracebacks that were formatted where the source files cannot be read."""

from __future__ import annotations

import linecache
import re

_FRAME = re.compile(r'(?P<indent>[ |]*)File "(?P<file>.+)", line (?P<number>\d+)(, in .*)?$')


def with_source(text: str) -> str:
    """Add the missing source lines that this process can read to the text of a traceback.

    A worker may be unable to read the file of the script, and has no access to the cells of a
    notebook.
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
    """Whether a line is the source line of the frame in the line before, by its indentation."""
    return line.startswith(indent + "  ")
