"""The history of measurements: one JSON line per run, in a file that is kept in git."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "history.jsonl"


def append(line: dict[str, Any], file: Path = FILE) -> None:
    """Append a line."""
    with file.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def read(kind: str, file: Path = FILE) -> list[dict[str, Any]]:
    """Return the lines of a kind, oldest first."""
    if not file.exists():
        return []
    lines = (json.loads(text) for text in file.read_text().splitlines() if text)
    return [line for line in lines if line["kind"] == kind]


def today() -> str:
    """Return the date of a line."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
