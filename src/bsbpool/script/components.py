"""Grouping of globals that refer to each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def components(graph: Mapping[str, Collection[str]]) -> list[tuple[str, ...]]:
    """Return the strongly connected components of a graph, each after those that it points to.

    Parameters
    ----------
    graph : mapping of str to collection of str
        The nodes that each node points to.
    """
    found: list[tuple[str, ...]] = []
    order: dict[str, int] = {}  # the index of each node that has been reached
    lowest: dict[str, int] = {}  # the lowest index that each node is known to lead to
    stack: list[str] = []
    for start in graph:
        path = [] if start in order else [(start, iter(graph[start]))]
        if path:
            order[start] = lowest[start] = len(order)
            stack.append(start)
        while path:
            node, others = path[-1]
            for other in others:
                if other not in order:
                    order[other] = lowest[other] = len(order)
                    stack.append(other)
                    path.append((other, iter(graph[other])))
                    break
                if other in lowest:  # still on the stack
                    lowest[node] = min(lowest[node], order[other])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == order[node]:
                    at = stack.index(node)
                    found.append(tuple(sorted(stack[at:])))
                    for member in stack[at:]:
                        del lowest[member]
                    del stack[at:]
    return found
