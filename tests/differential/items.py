"""Cached items, and the jobs that use them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bsbpool import pool_cache, pool_cached_function
from differential.functions import in_oracle

evaluated: list[str] = []
"""The items that were evaluated in this process."""


def _atlas(n: int) -> Any:
    if not in_oracle.get():
        evaluated.append(f"atlas {n}")
    return [n, np.arange(n)]


atlas = pool_cached_function(_atlas)


class Node:
    """A node with a name and a cached method that is evaluated once per rank."""

    def __init__(self, name: str) -> None:
        self.name = name

    def get_node_name(self) -> str:
        return self.name

    def _density(self) -> Any:
        if not in_oracle.get():
            evaluated.append(f"node {self.name}")
        return {self.name: 5}

    @pool_cache
    def density(self) -> Any:
        return self._density()


def use_atlas(owner: Any, n: int) -> Any:
    return _atlas(n) if in_oracle.get() else atlas(n)


def use_node(owner: Any, node: Node) -> Any:
    return node._density() if in_oracle.get() else node.density()


NODES = {2: Node("left"), 3: Node("right")}


def job_of(item: int) -> tuple[Any, tuple[Any, ...], list[Any]]:
    """Return the function, the arguments and the items of a job that uses an item."""
    if item < 2:
        return use_atlas, (item + 3,), [atlas]
    return use_node, (NODES[item],), [NODES[item]]
