"""Random histories on larger graphs than Hypothesis draws; the test's id is the seed."""

import random

import pytest
from oracle import FINISHED
from pair import Pair

from bsbpool._core.scheduling.status import Status

RUN_NS = [1e3, 1e3, 1e4, 1e6, 5e6, 3e7, 1e8]


class History:
    """A random run from a seed: its size, its shape, its failures and its cancellations."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.n_workers = self.random.choice([0, 1, 2, 5])
        self.p_fail = self.random.choice([0, 0, 0.05, 0.3])
        self.p_cancel = self.random.choice([0, 0.02, 0.1])
        self.p_lose = self.random.choice([0, 0, 0.02, 0.1])
        self.pair = Pair(self.n_workers)
        self.oracle = self.pair.oracle
        for _ in range(4):
            self.pair.cache_set(self.random.sample(range(6), self.random.randrange(4)))

    def run(self):
        self.pair.track_all()
        self.submit_some(self.random.randrange(80))
        self.pair.start()
        self.pair.agree()
        for _ in range(self.random.randrange(60)):
            self.step()
            self.pair.agree()
        if self.random.random() < 0.2:
            self.pair.end()
            self.pair.agree()
        self.finish_all()
        self.pair.pop_unneeded()

    def submit_some(self, n):
        for _ in range(n):
            so_far = range(len(self.oracle.jobs))
            near = so_far[-self.random.choice([5, 40]) :]
            deps = self.random.sample(near, min(len(near), self.random.randrange(4)))
            if self.random.random() < 0.1:
                self.pair.join(self.random.sample(near, len(near) // 2))
            join = self.random.choice([*range(len(self.oracle.joins)), None])
            joins = () if join is None else (join,)
            self.pair.submit(deps, joins, self.random.choice([None, 0, 1, 2, 3]))

    def step(self):
        if self.random.random() < self.p_cancel and self.oracle.jobs:
            self.pair.cancel(self.random.randrange(len(self.oracle.jobs)))
        if self.random.random() < 0.1:
            self.submit_some(self.random.randrange(10))
        if self.n_workers and self.random.random() < self.p_lose:
            self.lose_or_hold(self.random.randrange(self.n_workers))
        if self.n_workers and self.random.random() < 0.9:
            self.work()
        else:
            self.run_one_here()

    def work(self):
        if self.random.random() < 0.7:
            self.pair.assign()
        busy = [worker for worker, chain in self.oracle.chains.items() if chain]
        if not busy:
            return
        worker = self.random.choice(busy)
        chain = self.oracle.chains[worker]
        if self.random.random() < 0.05:
            self.pair.unsend(worker, self.random.randrange(len(chain)), Status.FAILED)
        elif len(chain) > 1 and self.random.random() < 0.1:
            self.pair.give_back(worker, self.random.randrange(1, len(chain)))
        elif self.oracle.jobs[chain[0]].status in FINISHED and self.random.random() < 0.7:
            self.pair.done(worker, Status.CANCELLED)
        else:
            self.pair.done(worker, self.outcome(), self.random.choice(RUN_NS))

    def lose_or_hold(self, worker):
        """A worker fails, is away, or is back."""
        if self.random.random() < 0.5:
            self.pair.hold(worker, self.random.random() < 0.3)
        else:
            self.pair.lose(worker, self.random.choice([-1, -2, *self.oracle.chains[worker]]))

    def run_one_here(self):
        number = self.pair.take()
        if number is not None:
            self.pair.finish(number, self.outcome())

    def outcome(self):
        return Status.FAILED if self.random.random() < self.p_fail else Status.SUCCESS

    def finish_all(self):
        """End the run and check that no job is left."""
        for worker in sorted(self.oracle.held):
            self.pair.hold(worker, False)
        for _ in range(10 * len(self.oracle.jobs)):
            if not self.oracle.ready() and not self.oracle.sent():
                break
            self.work() if self.n_workers else self.run_one_here()
        self.pair.agree()
        assert self.pair.engine.idle
        assert self.pair.engine.unfinished == 0
        assert self.pair.engine.needed_items == []


@pytest.mark.parametrize("seed", range(200))
def test_history(seed):
    History(seed).run()
