"""One pool of a plan on the main rank: its submissions, its run and its end."""

from functools import partial

from bsbpool._core.jobs.invoke import InterruptKind
from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.manual_engine import ManualEngine
from sim.callbacks import AllLostError
from sim.history import History
from sim.oracle import data_of
from sim.plan import MS

MAX_IDLE_NS = 400 * MS
"""The longest time without a change."""


class PoolRun:
    """Runs pool `number` of the plan of a simulation."""

    def __init__(self, simulation, number):
        self.simulation = simulation
        self.network = simulation.network
        self.channel = simulation.channel
        self.number = number
        self.plan = simulation.plan
        self.pool = self.plan.pools[number]
        self.data_items = {}  # by job
        self.ranks = range(1, self.plan.workers + 1)
        self.engine = ManualEngine()
        self.engine.open_workers(self.plan.workers)
        if self.pool.ahead:
            self.engine.set_ahead(self.pool.ahead)
        self.history = History(self.plan, self.pool, self.engine, simulation.memory)
        self.history.dead.update(rank for rank in self.ranks if self.network.is_dead(rank))
        self.callbacks = simulation.main_callbacks(simulation, self.history, self.pool)

    def run(self):
        self.run_id = run_id = self.channel.open_run()
        pairs = [pair for pair in self.pool.leaders if max(pair) <= self.plan.workers]
        self.channel.relaying.set_leaders(dict(pairs))
        self.loop = loop = MainLoop(self.engine, self.channel, run_id, self.callbacks)
        self.callbacks.loop = loop
        self.plan_events()
        self.network.set_limits(self.deadline(), MAX_IDLE_NS)
        self.engine.start_run()
        try:
            loop.run()
            aborted = self.callbacks.stopped
        except AllLostError:
            aborted = True
        interrupts = aborted and self.pool.interrupts
        if interrupts:
            self.note_interrupts()  # first: the next line may let ranks run before it returns
        loop.stop(aborted, 0, interrupts)
        self.mark_away()
        if aborted:
            self.abort()
        self.channel.close_run(run_id)

    def deadline(self):
        """Return a time at which the run must have ended in any case."""
        work = sum(job.duration + 100 * self.plan.latency for job in self.pool.jobs)
        return self.network.clock + 3 * work + 5_000 * MS

    def note_interrupts(self):
        """Note that main interrupts all jobs: it may not know which of them run."""
        for job in range(len(self.engine)):
            self.history.interrupted.setdefault(job, self.network.clock)

    def mark_away(self):
        """Mark the ranks that are inside a job, after the end of the run."""
        for rank in self.ranks:
            job = self.engine.running_job(rank - 1)
            if job is not None and rank not in self.channel.lost:
                self.channel.mark_away(rank, self.run_id)

    def abort(self):
        """End the jobs, as a pool does that does not wait for them."""
        engine = self.engine
        running = {job for job in range(len(engine)) if engine.status(job) is Status.RUNNING}
        self.history.log_event("end", running)
        engine.abort_run()

    # Events of the plan

    def plan_events(self):
        """Submit the jobs that come before the start, and plan the other events."""
        call_at, start = self.network.call_at, self.network.clock
        tokens = [self.simulation.token(self.number, item) for item in range(4)]
        items = [self.engine.add_cache_item(token) for token in tokens]
        self.history.n_expected = len(self.pool.jobs)
        for job in self.pool.jobs:
            if job.at:
                call_at(start + job.at, partial(self.submit, job, items))
            else:
                self.submit(job, items)
        for cancel in self.pool.cancels:
            call_at(start + cancel.at, partial(self.cancel, cancel))
        if self.pool.stops_at:
            call_at(start + self.pool.stops_at, self.stop)

    def submit(self, job, items):
        engine = self.engine
        if self.is_over():
            return
        options = {"deps": job.deps}
        if job.mode >= 0:
            options = {"joins": [engine.add_join(job.deps, job.mode)]}
        needed = [items[item] for item in job.items]
        needed += [self.data_item(dep) for dep in data_of(job, self.pool.jobs)]
        if needed:
            options["cache_set"] = engine.add_cache_set(needed)
        number = engine.submit(**options, spec=self.history.options.spec(len(engine)))
        if job.stays:
            engine.keep_on_worker(number)
        self.history.n_expected -= 1
        self.history.log_event("submit", job.deps, max(job.mode, 0))
        self.wake()

    def data_item(self, job):
        if job not in self.data_items:
            self.data_items[job] = self.engine.add_data_item(job)
        return self.data_items[job]

    def cancel(self, cancel):
        job = cancel.job
        if self.is_over() or job >= len(self.engine):
            return
        before = self.engine.cancel(job)
        if before is Status.QUEUED:
            self.history.cancelled[job] = self.network.clock
        if before is Status.RUNNING and cancel.running:
            self.history.interrupted[job] = self.network.clock
            self.loop.interrupt(job, InterruptKind.CANCEL_INTERRUPT, b"a reason")
        self.history.log_event("cancel", job)
        self.wake()

    def stop(self):
        self.callbacks.stopped = True
        self.wake()

    def is_over(self):
        """Whether the run has ended before an event."""
        return self.simulation.current is not self.history

    def wake(self):
        self.channel.wake()
        if self.plan.wakeup:
            self.network.wake(0)
