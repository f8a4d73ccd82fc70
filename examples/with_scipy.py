"""SciPy: pass a map as `workers=` to differential_evolution, brute, minimize and others.

    mpiexec -n 3 python examples/with_scipy.py

Minimises Rastrigin's function, which has many local minima. Each generation is one `map`, so a
generation should have several candidates for each worker.
"""

import numpy as np

from bsbpool.futures import PoolExecutor


def rastrigin(x):
    return 10 * x.size + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))


def lowest(a_map):
    from scipy.optimize import differential_evolution

    found = differential_evolution(
        rastrigin,
        bounds=[(-5.12, 5.12)] * 3,
        workers=a_map,
        updating="deferred",  # a generation at a time, not a candidate at a time
        maxiter=40,
        popsize=8,
        rng=np.random.default_rng(5),
        polish=False,
    )
    return found.fun


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"lowest {lowest(executor.map):.9f}")
