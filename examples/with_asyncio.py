"""asyncio: coroutines that await calls on other ranks.

    mpiexec -n 3 python examples/with_asyncio.py

Each root is computed in several steps, and each step is a call on a worker. The event loop is not
blocked, so the steps of different roots overlap.
"""

import asyncio

from bsbpool.futures import PoolExecutor


def newton(x, a):
    """Return the next approximation of the square root of `a`."""
    return (x + a / x) / 2


async def root(executor, a):
    loop = asyncio.get_running_loop()
    x = a
    while abs(x * x - a) > 1e-12 * a:
        x = await loop.run_in_executor(executor, newton, x, a)
    return x


async def roots(executor):
    return sum(await asyncio.gather(*[root(executor, float(a)) for a in range(1, 21)]))


if __name__ == "__main__":
    with PoolExecutor() as executor:  # on all ranks
        if executor is not None:  # on rank 0; the others have worked until here
            print(f"roots {asyncio.run(roots(executor)):.9f}")
