"""One pool of a plan on the main rank: what is submitted and when, its run, and how it ends."""

from functools import partial

from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.manual_engine import ManualEngine
from sim.callbacks import AllLostError
from sim.ledger import Ledger
from sim.plan import MS

PATIENCE_NS = 400 * MS
"""For how long nothing may happen."""


class PoolRun:
    """Runs pool `number` of the plan of a world; `run` raises what is wrong."""

    def __init__(self, world, number):
        self.world = world
        self.network = world.network
        self.channel = world.channel
        self.number = number
        self.spec = world.plan.pools[number]
        self.ranks = range(1, world.plan.workers + 1)
        self.engine = ManualEngine()
        self.engine.open_workers(world.plan.workers)
        self.ledger = Ledger(world.plan, self.spec, self.engine, world.memory)
        self.ledger.dead.update(rank for rank in self.ranks if self.network.is_dead(rank))
        self.callbacks = world.main_callbacks(world, self.ledger, self.spec)

    def run(self):
        self.run_id = run_id = self.channel.open_run()
        loop = MainLoop(self.engine, self.channel, run_id, self.callbacks)
        self.fill()
        self.network.limit(self.bound(), PATIENCE_NS)
        self.engine.start_run()
        try:
            loop.run()
            aborted = self.callbacks.stopped
        except AllLostError:
            aborted = True
        loop.stop(aborted)
        if aborted:
            self.abandon()
        self.channel.close_run(run_id)

    def bound(self):
        """Return when the run must be over, however badly it goes."""
        work = sum(job.takes + 100 * self.world.plan.latency for job in self.spec.jobs)
        return self.network.clock + 3 * work + 5_000 * MS

    def abandon(self):
        """What a pool does when it does not wait for its jobs."""
        engine = self.engine
        for rank in self.ranks:
            if engine.running_job(rank - 1) is not None and rank not in self.channel.lost:
                self.channel.mark_away(rank, self.run_id)
        running = {job for job in range(len(engine)) if engine.status(job) is Status.RUNNING}
        self.ledger.note("end", running)
        engine.abort_run()

    # What the plan has happen

    def fill(self):
        """Submit what comes before the start, and let the rest happen in time."""
        at, start = self.network.at, self.network.clock
        tokens = [self.world.token(self.number, item) for item in range(4)]
        items = [self.engine.add_cache_item(token) for token in tokens]
        self.ledger.due = len(self.spec.jobs)
        for job in self.spec.jobs:
            if job.at:
                at(start + job.at, partial(self.submit, job, items))
            else:
                self.submit(job, items)
        for order in self.spec.cancels:
            at(start + order.at, partial(self.cancel, order.job))
        if self.spec.stops_at:
            at(start + self.spec.stops_at, self.stop)

    def submit(self, job, items):
        engine = self.engine
        if self.is_over():
            return
        options = {"join": engine.add_join(job.deps)} if job.shared else {"deps": job.deps}
        if job.items:
            options["cache_set"] = engine.add_cache_set([items[item] for item in job.items])
        engine.submit(**options)
        self.ledger.due -= 1
        self.ledger.note("submit", job.deps)
        self.wake()

    def cancel(self, job):
        if self.is_over() or job >= len(self.engine):
            return
        if self.engine.cancel(job) is Status.QUEUED:
            self.ledger.cancelled[job] = self.network.clock
        self.ledger.note("cancel", job)
        self.wake()

    def stop(self):
        self.callbacks.stopped = True
        self.wake()

    def is_over(self):
        """Whether an event comes too late, since the run was left early."""
        return self.world.current is not self.ledger

    def wake(self):
        self.channel.wake()
        if self.world.plan.wakeup:
            self.network.wake(0)
