"""Numbers with units, as users write them: 20ms, 1s, 4KiB."""

from __future__ import annotations

import re

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s*([a-z]*)")


def seconds_of(text: str, name: str) -> float:
    """Return a time in seconds.

    Parameters
    ----------
    text : str
        A number, and a unit: ns, us, ms, s (the default), min or h.
    name : str
        The argument, for the error.

    Raises
    ------
    ValueError
        If the text is something else.
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[2] not in SECONDS:
        raise ValueError(
            f"{name}: {text!r} is not a time; write a number and one of the units "
            f"{', '.join(unit for unit in SECONDS if unit)}, for example 20ms"
        )
    return float(found[1]) * SECONDS[found[2]]


def bytes_text(size: float) -> str:
    """Return a number of bytes with a unit."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"
