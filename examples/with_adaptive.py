"""adaptive: sample a function at several points at a time, more densely where it changes fast.

    mpiexec -n 3 python examples/with_adaptive.py

The points that are sampled depend on the order of the results, so the integral varies from run to
run within the learner's `loss_goal`. The runner does not know how many calls the executor runs at a
time, so pass the number of workers as `ntasks`.
"""

import math

from bsbpool.futures import PoolExecutor

WIDTH = 0.05


def peak(x):
    """A line with a narrow peak."""
    return x + WIDTH**2 / (WIDTH**2 + (x - 0.2) ** 2)


def integral(executor, ntasks):
    import adaptive
    import numpy as np

    learner = adaptive.Learner1D(peak, bounds=(-1, 1))
    adaptive.BlockingRunner(learner, loss_goal=0.005, executor=executor, ntasks=ntasks)
    x, y = learner.to_numpy().T
    return np.trapezoid(y, x)


def exact():
    return WIDTH * (math.atan(0.8 / WIDTH) + math.atan(1.2 / WIDTH))


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"integral {integral(executor, executor.num_workers):.9f}")
