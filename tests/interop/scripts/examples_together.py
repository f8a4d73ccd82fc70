"""All examples for other people's packages, one after the other on one executor."""

import asyncio
import sys

import with_adaptive
import with_asyncio
import with_dask
import with_emcee
import with_optuna
import with_pymoo
import with_scipy
import with_tqdm

from bsbpool.futures import PoolExecutor


def tell(name, number):
    print(name, f"{number:.9f}", file=sys.stderr)


with PoolExecutor() as executor:
    if executor is not None:
        tell("adaptive", with_adaptive.integral(executor, executor.num_workers))
        tell("asyncio", asyncio.run(with_asyncio.roots(executor)))
        tell("dask", with_dask.mean_distance(executor))
        tell("emcee", with_emcee.mean_slope(executor))
        tell("optuna", with_optuna.best(executor))
        tell("pymoo", with_pymoo.hypervolume(executor.starmap))
        tell("scipy", with_scipy.lowest(executor.map))
        tell("tqdm", with_tqdm.longest(executor))
