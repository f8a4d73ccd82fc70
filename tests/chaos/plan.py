"""The plan of a chaos run, drawn from its seed."""

from __future__ import annotations

import random
from typing import NamedTuple

SECONDS = ((0.0,), (0.0, 0.001), (0.002, 0.01), (0.0, 0.02, 0.1))
OVER = 3
"""Exit code of main if a pool failed."""
EXIT = 7
"""Exit code of a rank that ends itself."""
INSIDE = ("exit", "segfault", "kill", "abort")


class Kill(NamedTuple):
    """A SIGKILL from outside."""

    after: float  # seconds since all ranks are ready, or since the kill before
    pick: float  # selects one of the living workers


class Plan:
    """The sizes, the shape and the deaths of one run.

    Attributes
    ----------
    n_ranks, n_pools, n_jobs : int
        How many ranks, pools one after the other, and jobs in each pool.
    seconds : tuple of float
        What run times of jobs are drawn below.
    kills : list of Kill
        Deaths that come from outside.
    ends : dict of (int, int) to str
        Jobs, by pool and number, that kill their own rank, or fail.
    """

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self.seed = seed
        self.n_ranks = rng.choice([3, 4, 6, 8])
        self.n_pools = rng.choice([1, 2, 4])
        self.seconds = rng.choice(SECONDS)
        mean = sum(self.seconds) / len(self.seconds) / 2
        self.n_jobs = int(min(1_500, max(60, 0.8 * self.n_ranks / (mean + 1e-4) / self.n_pools)))
        deaths = self.n_ranks - 1 - (rng.random() < 0.9)  # sometimes no worker is left
        inside = rng.randrange(deaths // 2 + 1)
        # The launcher ends the program if several ranks end with an exit code.
        ways = [*INSIDE, *(way for way in INSIDE[1:] for _ in range(inside))]
        rng.shuffle(ways)
        self.kills = [Kill(rng.random() * 0.4, rng.random()) for _ in range(deaths - inside)]
        self.ends = {
            (rng.randrange(self.n_pools), rng.randrange(self.n_jobs)): ways[n]
            for n in range(inside)
        }
        for _ in range(rng.choice([0, 0, 3])):
            self.ends.setdefault((rng.randrange(self.n_pools), rng.randrange(self.n_jobs)), "raise")
