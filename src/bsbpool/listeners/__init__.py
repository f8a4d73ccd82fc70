"""Listeners that show or record the progress of a pool."""

from __future__ import annotations

import importlib

from bsbpool._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.listeners.base import Listener as Listener
    from bsbpool.listeners.json_lines import JsonLinesListener as JsonLinesListener
    from bsbpool.listeners.log import LogListener as LogListener
    from bsbpool.listeners.notebook import TqdmListener as TqdmListener
    from bsbpool.listeners.otel import OpenTelemetryListener as OpenTelemetryListener
    from bsbpool.listeners.terminal import TerminalListener as TerminalListener
    from bsbpool.listeners.trace import TraceListener as TraceListener

_HOMES = {
    "JsonLinesListener": "json_lines",
    "Listener": "base",
    "LogListener": "log",
    "OpenTelemetryListener": "otel",
    "TerminalListener": "terminal",
    "TqdmListener": "notebook",
    "TraceListener": "trace",
}
"""The public names, and the modules that define them."""

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
