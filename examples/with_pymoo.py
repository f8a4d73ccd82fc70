"""pymoo: evaluate the candidates of each generation on the ranks.

    mpiexec -n 3 python examples/with_pymoo.py

A problem that evaluates one candidate at a time takes a runner, which needs a `starmap`. The
problem is sent with the candidates, but without the runner, because an executor cannot be sent.
"""

import numpy as np
from pymoo.core.problem import ElementwiseProblem

from bsbpool.futures import PoolExecutor


class Beam(ElementwiseProblem):
    """Minimise the volume and the deflection of a beam."""

    def __init__(self, **options):
        super().__init__(n_var=2, n_obj=2, xl=[0.1, 0.1], xu=[1.0, 1.0], **options)

    def _evaluate(self, x, out, *args, **kwargs):
        width, height = x
        out["F"] = [width * height, 0.01 / (width * height**3)]


def hypervolume(starmap):
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.indicators.hv import HV
    from pymoo.optimize import minimize
    from pymoo.parallelization.starmap import StarmapParallelization

    problem = Beam(elementwise_runner=StarmapParallelization(starmap))
    found = minimize(problem, NSGA2(pop_size=20), ("n_gen", 10), seed=1)
    return HV(ref_point=np.array([1.0, 1.0]))(found.F)


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"hypervolume {hypervolume(executor.starmap):.9f}")
