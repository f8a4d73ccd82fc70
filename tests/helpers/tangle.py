"""Makes jobs wait in ways that no pool lets them: by writing into the tables of its core."""

from __future__ import annotations

import ctypes
from typing import Any

HEADER = 3 * ctypes.sizeof(ctypes.c_void_p)
"""Of an Engine: what all objects have, and the table of its methods."""


class Vertex(ctypes.Structure):
    _fields_ = [("unmet", ctypes.c_int32), ("head", ctypes.c_int32)]


class Edge(ctypes.Structure):
    _fields_ = [("target", ctypes.c_int32), ("next", ctypes.c_int32)]


class Graph(ctypes.Structure):
    """The beginning of `graph_t`, which an Engine begins with."""

    _fields_ = [
        ("vertices", ctypes.POINTER(Vertex)),
        ("n_vertices", ctypes.c_int64),
        ("vertex_capacity", ctypes.c_int64),
        ("joins", ctypes.c_void_p),
        ("n_joins", ctypes.c_int64),
        ("join_capacity", ctypes.c_int64),
        ("edges", ctypes.POINTER(Edge)),
        ("n_edges", ctypes.c_int64),
    ]


def graph_of(engine: Any) -> Graph:
    """Return the tables of an engine as they are in memory."""
    graph = Graph.from_address(id(engine) + HEADER)
    assert graph.n_vertices == len(engine), "graph_t is not what it was"
    return graph


def wait_for_nothing(engine: Any, job: int) -> None:
    """Let a job wait for an unknown object."""
    graph_of(engine).vertices[job].unmet += 1


def turn_edge(engine: Any, dependency: int, waiter: int, instead: int) -> None:
    """Let `instead` wait for `dependency`, whose last dependent was `waiter` until now."""
    graph = graph_of(engine)
    edge = graph.edges[graph.vertices[dependency].head]
    assert edge.target == waiter, "edge_t is not what it was"
    edge.target = instead
    graph.vertices[waiter].unmet -= 1
    graph.vertices[instead].unmet += 1
