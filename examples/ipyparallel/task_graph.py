"""A graph of tasks: each begins when the tasks before it have succeeded.

    mpiexec -n 4 python -m bsbpool.run examples/ipyparallel/task_graph.py

The program also runs with ``import ipyparallel as ipp``. networkx has the graph; the edges become
dependencies of a load-balanced view. At the end, the metadata of the tasks show that the order of
the graph was kept.
"""

import random

import networkx as nx

import bsbpool.integrations.ipyparallel as ipp


def random_graph(n_nodes, n_edges, seed=1):
    """Return a directed graph without cycles."""
    rng = random.Random(seed)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n_nodes))
    while graph.number_of_edges() < n_edges:
        first, second = sorted(rng.sample(range(n_nodes), 2))
        graph.add_edge(first, second)
    return graph


def work(node, seconds):
    """Wait, and return the node and the engine's process."""
    import os
    import time

    time.sleep(seconds)
    return node, os.getpid()


def submit(view, graph):
    """Submit a task for each node, in an order that follows the edges; return the results."""
    rng = random.Random(2)
    results = {}
    for node in nx.topological_sort(graph):
        before = [results[first] for first in graph.predecessors(node)]
        with view.temp_flags(after=before, block=False):
            results[node] = view.apply(work, node, rng.uniform(0.001, 0.02))
    return results


def check(graph, results):
    """Return the number of edges whose tasks ran in the right order."""
    return sum(
        results[second].metadata.started >= results[first].metadata.completed
        for first, second in graph.edges
    )


def refuse(view):
    """Return the names of the errors of tasks that depend on a task that fails."""
    failed = view.apply_async(lambda: 1 / 0)
    failed.wait()
    names = []
    for depend in (failed, ipp.Dependency([failed], success=False, failure=True)):
        with view.temp_flags(after=depend):
            task = view.apply_async(lambda: "ran")
        try:
            names.append(task.get(timeout=30))
        except ipp.RemoteError as error:
            names.append(error.ename)
    return names


def main():
    graph = random_graph(60, 150)
    with ipp.Cluster(n=3) as rc:
        view = rc.load_balanced_view()
        results = submit(view, graph)
        view.wait(list(results.values()))
        assert [results[node].get()[0] for node in graph] == list(graph)
        engines = {result.metadata.engine_id for result in results.values()}
        print(
            f"{len(results)} tasks on {len(engines)} engines, "
            f"longest chain {nx.dag_longest_path_length(graph) + 1}"
        )
        print(f"{check(graph, results)} of {graph.number_of_edges()} edges kept")
        print("after a failure:", *refuse(view))


if __name__ == "__main__":
    main()
