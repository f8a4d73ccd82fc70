"""Numbers as short texts with units."""

from __future__ import annotations


def seconds(value: float) -> str:
    """Return a time, for example ``1.25 ms``."""
    if value >= 7200:
        return f"{value / 3600:.1f} h"
    if value >= 300:
        return f"{value / 60:.1f} min"
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.0f} ns" if value > 0 else "0 s"


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
