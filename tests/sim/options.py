"""The options of jobs in a simulation: where they may run, what they need, how often they rerun."""

from collections import Counter
from dataclasses import replace

from bsbpool._core.scheduling.engine_options import EngineOptions, JobSpec
from sim.plan import Options

TOTALS = (2, 3)
"""The units of each kind: kind 0 on each rank, kind 1 on each pair of ranks."""


class SimulatedOptions:
    """What the plan of a pool says about options, and checks that it is respected.

    Parameters
    ----------
    plan : Plan
        The plan of the simulation.
    pool : Pool
        The pool of the plan.
    engine : ManualEngine
        Its tables, with the workers opened.
    """

    def __init__(self, plan, pool, engine):
        self.pool = pool
        self.engine = engine
        self.ranks = range(1, plan.workers + 1)
        self.tables = EngineOptions(engine)
        self.tables.open_resources(2)
        for kind, total in enumerate(TOTALS):
            for members in sorted({self.stocks_of(rank)[kind] for rank in self.ranks}):
                self.tables.add_stock(kind, total, members, kind == 0)
        self.n_retried = Counter()  # jobs that ran again after an error
        self.n_rerun = Counter()  # jobs that ran again after their rank was lost

    def stocks_of(self, rank):
        """Return the workers that share the stock of each kind with a rank, itself among them."""
        pair = range((rank - 1) // 2 * 2, min((rank - 1) // 2 * 2 + 2, len(self.ranks)))
        return (rank - 1,), tuple(pair)

    def of(self, number):
        given = self.pool.jobs[number].options or Options()
        # A plan with fewer workers may be tried when a failure is shrunk.
        return replace(given, targets=tuple(rank for rank in given.targets if rank in self.ranks))

    def spec(self, number):
        """Return the `JobSpec` of a job of the plan; None for a plain job."""
        given = self.of(number)
        if self.pool.jobs[number].options is None:
            return None
        targets, demand = -1, -1
        if given.targets:
            targets = self.tables.add_worker_set([rank - 1 for rank in given.targets])
        if given.needs:
            demand = self.tables.add_demand(enumerate(given.needs))
        return JobSpec(
            self.engine,
            priority=given.priority,
            targets=targets,
            demand=demand,
            follow=given.follow,
            strict=given.grace < 0,
            grace_ns=max(given.grace, 0),
            retries=given.retries,
            lost_retries=given.lost_retries,
            elsewhere=given.elsewhere,
        )

    def ranks_of(self, number):
        """Return the ranks that may run a job."""
        given = self.of(number)
        found = set(given.targets or self.ranks)
        followed = {self.tables.last_worker(job) for job in given.follow} - {None}
        if given.grace < 0 and followed:
            found &= {worker + 1 for worker in followed}
        fits = all(units <= total for units, total in zip(given.needs, TOTALS, strict=False))
        return found if fits else set()

    # Checks

    def check_begin(self, rank, number):
        assert rank in self.ranks_of(number), f"job {number} begins on rank {rank}"

    def check_running(self, running):
        """Check that the running jobs (by rank) do not need more than there is."""
        used = Counter()
        for rank, number in running.items():
            for kind, units in enumerate(self.of(number).needs):
                used[kind, self.stocks_of(rank)[kind]] += units
        for (kind, workers), units in used.items():
            assert units <= TOTALS[kind], f"workers {workers} use {units} units of kind {kind}"

    def check_retries(self):
        """Compare the retries that were left with those that were seen."""
        for number in range(len(self.engine)):
            given = self.of(number)
            retried, rerun = self.n_retried[number], self.n_rerun[number]
            left = self.tables.retries_left(number), self.tables.retries_left(number, lost=True)
            assert left == (given.retries - retried, given.lost_retries - rerun)
            assert self.tables.attempts(number) == retried + rerun
