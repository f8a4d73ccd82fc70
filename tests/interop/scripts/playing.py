"""For programs that show scenes on rank 0: each is called, and what it returned is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MARK = "scene: "


def show(*scenes: Callable[[], Any]) -> None:
    """Call each scene and print its outcome under its name."""
    for scene in scenes:
        print(MARK + json.dumps([scene.__name__, scene()]), flush=True)


def error_of(f: Callable[..., Any], *args: Any, **kwargs: Any) -> list[str] | None:
    """Return the kind and the text of the error that a call raises, and None for none."""
    try:
        f(*args, **kwargs)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return None
