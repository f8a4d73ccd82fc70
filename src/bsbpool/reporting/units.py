"""Numbers as short texts with units."""

from __future__ import annotations


def size(value: float) -> str:
    """Return a number of bytes, for example ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def share(value: float) -> str:
    """Return a share as per cent."""
    return f"{100 * value:.1f} %"
