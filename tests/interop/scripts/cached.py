"""Placement strategies that keep a ledger of what they cache, of its uses and of its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bsb import (
    Configuration,
    PlacementIndicator,
    PlacementStrategy,
    Scaffold,
    config,
    pool_cache,
)

ledger: list[tuple[str, str]] = []
"""What happened on this rank: (what, to which item or node)."""

ITEMS = ("get_indicators", "helper")
NODES = ("first", "second", "third")
JOBS = 4
"""How many chunks, and so jobs, each node has."""


def take_ledger() -> list[tuple[str, str]]:
    """Return what happened since the last call."""
    taken, ledger[:] = list(ledger), []
    return taken


class Indicator(PlacementIndicator):
    """Made once for each evaluation of `get_indicators`, which is bsb's."""

    def __init__(self, strategy: Any, cell_type: Any) -> None:
        ledger.append(("evaluate", f"{strategy.name}.get_indicators"))
        super().__init__(strategy, cell_type)


@config.node
class Cached(PlacementStrategy):
    """Uses what `get_indicators` and a helper of its own return, in each job."""

    indicator_class = Indicator

    @pool_cache
    def helper(self) -> str:
        ledger.append(("evaluate", f"{self.name}.helper"))
        return self.name

    def place(self, chunk: Any, indicators: Any) -> None:
        for _ in range(2):
            assert self.helper() == self.name
            assert self.get_indicators() is indicators
        ledger.append(("job", self.name))


def network(root: Path) -> Scaffold:
    """Make a network that only places, and whose ledger tells when items are freed."""
    place = {"strategy": "cached.Cached", "partitions": ["sheet"], "cell_types": ["cell"]}
    scaffold = Scaffold(
        Configuration(
            {
                "storage": {"engine": "hdf5", "root": str(root)},
                "network": {"x": 100.0, "y": 100.0, "z": 50.0, "chunk_size": 50.0},
                "partitions": {"sheet": {"thickness": 50.0}},
                "cell_types": {"cell": {"spatial": {"radius": 1, "count": 1}}},
                "placement": {
                    "first": place,
                    "second": {**place, "depends_on": ["first"]},
                    "third": {**place, "depends_on": ["second"]},
                },
                "connectivity": {},
            }
        )
    )
    scaffold.register_listener(lambda event: None)
    names = {
        getattr(Cached, item).get_pool_cache_id(scaffold.placement[node]): f"{node}.{item}"
        for node in NODES
        for item in ITEMS
    }
    register = scaffold.register_pool_cached_item

    def register_and_tell(id: int, cleanup: Any) -> None:
        def clean() -> None:
            ledger.append(("free", names[id]))
            cleanup()

        register(id, clean)

    scaffold.register_pool_cached_item = register_and_tell
    return scaffold
