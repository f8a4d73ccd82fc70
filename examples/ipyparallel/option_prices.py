"""Monte-Carlo prices of options: a balanced map over strikes and volatilities.

    mpiexec -n 4 python -m bsbpool.run examples/ipyparallel/option_prices.py

The program also runs with ``import ipyparallel as ipp``. Each task simulates the paths of one
volatility and one strike and returns four prices. The seed of a task is part of its arguments, so
the prices do not depend on the engine that runs the task.
"""

from itertools import product
from math import erf, exp, log, sqrt

import bsbpool.integrations.ipyparallel as ipp

SPOT, RATE, YEARS = 100.0, 0.05, 1.0
STRIKES = [90.0, 95.0, 100.0, 105.0, 110.0]
VOLATILITIES = [0.1, 0.2, 0.3]
PATHS, DAYS = 20_000, 64


def prices(strike, volatility, seed):
    """Return the prices of European and Asian calls and puts."""
    import numpy as np

    rng = np.random.default_rng(seed)
    step = YEARS / DAYS
    drift = (RATE - volatility**2 / 2) * step
    # Each normal number is used with both signs, which reduces the variance.
    normal = rng.standard_normal((PATHS // 2, DAYS))
    moves = drift + volatility * sqrt(step) * np.concatenate([normal, -normal])
    path = SPOT * np.exp(moves.cumsum(axis=1))
    last, mean = path[:, -1], path.mean(axis=1)
    payoffs = [last - strike, strike - last, mean - strike, strike - mean]
    return [float(exp(-RATE * YEARS) * np.maximum(payoff, 0).mean()) for payoff in payoffs]


def black_scholes(strike, volatility):
    """Return the exact price of the European call."""
    width = volatility * sqrt(YEARS)
    d1 = (log(SPOT / strike) + RATE * YEARS) / width + width / 2
    normal_1, normal_2 = ((1 + erf(d / sqrt(2))) / 2 for d in (d1, d1 - width))
    return SPOT * normal_1 - strike * exp(-RATE * YEARS) * normal_2


def main():
    cases = list(product(STRIKES, VOLATILITIES))
    strikes, volatilities = zip(*cases, strict=True)
    with ipp.Cluster(n=3) as rc:
        rc[:].push(dict(SPOT=SPOT, RATE=RATE, YEARS=YEARS, PATHS=PATHS, DAYS=DAYS), block=True)
        rc[:].execute("from math import exp, sqrt", block=True)
        view = rc.load_balanced_view()
        found = view.map_async(prices, strikes, volatilities, range(len(cases)))
        found.wait()
        engines = len(set(found.engine_id))
        print(
            f"{found.progress} tasks on {engines} engines, speed-up of their work "
            f"{found.serial_time / found.wall_time:.1f}"
        )
        worst = 0.0
        print("strike  volatility  European call    put   Asian call    put")
        for (strike, volatility), row in zip(cases, found, strict=True):
            print(
                f"{strike:6.0f}{volatility:12.1f}{row[0]:15.3f}{row[1]:7.3f}"
                f"{row[2]:13.3f}{row[3]:7.3f}"
            )
            worst = max(worst, abs(row[0] - black_scholes(strike, volatility)))
        print(f"largest difference to Black-Scholes: {worst:.3f}")


if __name__ == "__main__":
    main()
