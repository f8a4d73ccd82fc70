"""Short texts about failed jobs: the job, its rank, the error and the last frames."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType

from bsbpool.exceptions import WorkerTraceback
from bsbpool.naming import error_text, shortened

FRAMES = 2
"""The number of frames that are shown."""
_FRAME = re.compile(r' *File "(?P<file>.+)", line (?P<line>\d+)(, in (?P<function>.*))?$')

_FOLDER = f"{Path(__file__).parents[1]}/"


def failure_lines(what: str, error: BaseException) -> list[str]:
    """Return the lines about a failure: what failed and why, then the last frames.

    Parameters
    ----------
    what : str
        The name of the job or call.
    error : BaseException
        Its error.
    """
    cause = error.__cause__
    if isinstance(cause, WorkerTraceback):
        frames, where = _frames_of_text(cause.text), f" on rank {cause.rank}"
    else:
        frames, where = _frames_of(error.__traceback__), ""
    return [f"{what} failed{where}: {_one_line(error_text(error))}", *frames[-FRAMES:]]


def _one_line(text: str, longest: int = 200) -> str:
    text = " ".join(text[: 4 * longest].split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _frames_of_text(text: str) -> list[str]:
    """Return a line for each frame of the last traceback in a text."""
    frames: list[str] = []
    lines = text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("Traceback "):
            frames.clear()
        found = _FRAME.match(line)
        if found and not _is_own(found["file"], found["function"] or ""):
            source = "" if _FRAME.match(after) or not after.startswith("    ") else after
            frames.append(_frame(found["file"], found["line"], found["function"], source))
    return frames


def _frames_of(traceback: TracebackType | None) -> list[str]:
    """Return a line for each frame of a traceback, without those of this package."""
    import linecache

    frames: list[str] = []
    while traceback is not None:
        frame, line = traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
        module = str(frame.f_globals.get("__name__", ""))
        if not f"{module}.".startswith("bsbpool."):
            file = frame.f_code.co_filename
            source = linecache.getline(file, line, frame.f_globals)
            frames.append(_frame(file, line, frame.f_code.co_name, source))
    return frames


def _is_own(file: str, function: str) -> bool:
    return file.startswith(_FOLDER) or function.startswith("bsbpool.")  # compiled ones


def _frame(file: str, line: object, function: str | None, source: str) -> str:
    name = file.replace("\\", "/").rpartition("/")[2]
    text = f"{name}:{line}" + (f" in {function}" if function else "")
    return f"{text}: {shortened(source)}" if source.strip() else text
