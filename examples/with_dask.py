"""Dask: run the tasks of delayed calls, arrays or bags on the ranks.

    mpiexec -n 3 python examples/with_dask.py

With `scheduler=executor`, Dask orders the tasks of a graph on rank 0 and submits them. Intermediate
results pass through rank 0, so Dask's own distributed scheduler may be better for graphs with large
intermediate arrays.
"""

import numpy as np

from bsbpool.futures import PoolExecutor


def simulate(seed):
    """Return a random walk."""
    return np.random.default_rng(seed).normal(size=1000).cumsum()


def farthest(walk):
    return np.abs(walk).max()


def mean_distance(executor):
    import dask

    walks = [dask.delayed(simulate)(seed) for seed in range(12)]
    mean = dask.delayed(np.mean)([dask.delayed(farthest)(walk) for walk in walks])
    return mean.compute(scheduler=executor)


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"distance {mean_distance(executor):.9f}")
