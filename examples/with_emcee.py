"""emcee: compute the log-probabilities of the walkers on the ranks.

    mpiexec -n 3 python examples/with_emcee.py

Fits a straight line to noisy points. `EnsembleSampler(pool=...)` calls `pool.map` for one half of
the walkers at a time, so use at least twice as many walkers as workers. The data points are global
variables: every rank creates them, so they are never sent.
"""

import numpy as np

from bsbpool.futures import PoolExecutor

X = np.linspace(0, 10, 20)
Y = 2 * X + 1 + np.random.default_rng(7).normal(0, 0.5, X.size)  # the same on all ranks
WALKERS, STEPS = 16, 60


def log_probability(line):
    """Return the log-likelihood of the points for a slope and an offset."""
    slope, offset = line
    return -0.5 * np.sum(((Y - slope * X - offset) / 0.5) ** 2)


def mean_slope(pool):
    import emcee  # on rank 0 only: the workers just call the function above

    start = np.random.default_rng(1).normal([2, 1], 0.01, (WALKERS, 2))
    sampler = emcee.EnsembleSampler(WALKERS, 2, log_probability, pool=pool)
    sampler.random_state = np.random.RandomState(3).get_state()
    sampler.run_mcmc(start, STEPS)
    return sampler.get_chain(discard=STEPS // 2, flat=True)[:, 0].mean()


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"slope {mean_slope(executor):.9f}")
