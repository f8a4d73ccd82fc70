"""Parts of a network that fail, each in its own way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import journal
import tissue
from bsb import (
    AfterConnectivityHook,
    AfterPlacementHook,
    Configuration,
    ConnectionStrategy,
    Morphology,
    PlacementStrategy,
    Scaffold,
    config,
)


class Misfortune(Exception):
    """An error that cannot be made again from its message alone."""

    def __init__(self, where: str, chunk: int) -> None:
        super().__init__(f"misfortune in {where} at {chunk}")
        self.where, self.chunk = where, chunk


class Unsendable(Exception):
    """An error that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("unsendable")
        self.lock = threading.Lock()


def fail(how: str, where: str, chunk: int = -1) -> None:
    """Raise the error of that name."""
    if how == "misfortune":
        raise Misfortune(where, chunk)
    if how == "unsendable":
        raise Unsendable
    raise SystemExit(f"leaving {where}")


@config.node
class FailingPlacement(PlacementStrategy):
    """Fails in each chunk."""

    how: str = config.attr(type=str, default="misfortune")

    def place(self, chunk: Any, indicators: Any) -> None:
        journal.write_down(self.name, [chunk], fail, self.how, self.name, int(chunk.id))


@config.node
class FailingOrSlowPlacement(PlacementStrategy):
    """Fails in one chunk, and takes its time in the others."""

    def place(self, chunk: Any, indicators: Any) -> None:
        if any(chunk):
            journal.write_down(self.name, [chunk], time.sleep, 1.0)
        else:
            journal.write_down(self.name, [chunk], fail, "misfortune", self.name, 0)


@config.node
class UnschedulablePlacement(PlacementStrategy):
    """Fails before it has any job."""

    def queue(self, pool: Any, chunk_size: Any) -> None:
        fail("misfortune", "queue")

    def place(self, chunk: Any, indicators: Any) -> None:
        raise AssertionError("never queued")


@config.node
class FailingConnection(ConnectionStrategy):
    """Fails in each job."""

    def connect(self, pre: Any, post: Any) -> None:
        journal.write_down(self.name, pre.roi, fail, "misfortune", self.name)


@config.node
class FailingAfterPlacement(AfterPlacementHook):
    """Fails."""

    def postprocess(self) -> None:
        journal.write_down(self.name, None, fail, "misfortune", self.name)


@config.node
class FailingAfterConnectivity(AfterConnectivityHook):
    """Fails."""

    def postprocess(self) -> None:
        journal.write_down(self.name, None, fail, "misfortune", self.name)


def failing_operation(morphology: Morphology) -> Morphology:
    """Fail in a morphology pipeline."""
    fail("misfortune", "pipeline")
    return morphology


def network(
    root: Path, part: str | None = None, name: str = "", comm: Any = None, **changes: Any
) -> Scaffold:
    """Make the network of `tissue` with one of its nodes changed; None takes an option away."""
    tree = tissue.describe(root)
    if part == "morphologies":
        tree[part][0]["pipeline"] = ["troubles.failing_operation"]
    elif part:
        options = tree[part][name] | changes
        tree[part][name] = {key: value for key, value in options.items() if value is not None}
    return Scaffold(Configuration(tree), comm=comm)
