"""One simulated run of a plan: the loops in threads, one at a time, on a simulated network."""

import os
import threading
from contextlib import contextmanager
from functools import partial

from bsbpool._core.comm.channel import Channel, TransportError
from bsbpool._core.comm.relay import RelayTransport
from bsbpool._core.comm.wakeup import AVAILABLE, BYTES, Wakeup
from bsbpool._core.jobs.invoke import CallDepth
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.simulated_network import SimulatedNetwork
from sim.callbacks import MainCallbacks, MainDiedError, RankDiedError, WorkerCallbacks
from sim.plan import MS
from sim.pools import MAX_IDLE_NS, PoolRun

REAL_SECONDS = 20


class Simulation:
    """Runs a plan; `run` raises the first failed check.

    Parameters
    ----------
    plan : Plan
        The plan.
    """

    main_callbacks = MainCallbacks
    worker_callbacks = WorkerCallbacks

    def __init__(self, plan):
        self.plan = plan
        self.has_leaders = any(pool.leaders for pool in plan.pools)
        self.main_has_ended = False
        self.network = SimulatedNetwork(
            plan.workers + 1, plan.seed, plan.latency, plan.preempt, plan.wakeup, plan.slow_sends
        )
        self.network.on_change = self.check
        self.network.on_timeout = self.raise_timeout
        self.network.on_death = self.rank_died
        self.memory = bytearray((plan.workers + 1) * BYTES)
        self.slots_of_dead = {}  # rank: its slot in the memory, and the content at its death
        self.channels = [self.make_channel(rank) for rank in range(plan.workers + 1)]
        self.channel = self.channels[0]
        self.histories = []
        self.callbacks = []  # of main, for each pool
        self.current = None  # the history of the pool that is being executed
        self.n_run = [0] * (plan.workers + 1)
        self.ends = {}  # rank: "done", or the name of the error that ended it
        self.deaths = {death.rank: death for death in plan.deaths}
        self.plan_deaths()

    def make_channel(self, rank):
        wakeup = None
        if self.plan.shares_begun and AVAILABLE:
            n = self.plan.workers + 1
            wakeup = Wakeup(self.memory, range(n), rank, n)
        transport = self.network.transport(rank)
        if self.has_leaders:
            transport = RelayTransport(transport, rank, wakeup)
        return Channel(transport, crowded=not self.plan.spins, wakeup=wakeup)

    def plan_deaths(self):
        for death in self.plan.deaths:
            self.network.plan_death(
                death.rank, death.step, death.part_message, death.n_delivered, death.report_delay
            )
            if death.at >= 0:
                self.network.call_at(
                    self.network.clock + death.at, partial(self.network.kill, death.rank)
                )

    def token(self, number, item):
        """Return the token of a cache item of pool `number`."""
        return (1 << 63) + number * 16 + item

    # Callbacks of the network

    def check(self):
        if self.current is not None:
            self.current.check()

    def raise_timeout(self, reason):
        raise AssertionError(f"{reason}: {self.describe()}")

    def describe(self):
        """Return the state of the run, for messages."""
        if self.current is None:
            return f"ranks that have ended: {self.ends}"
        engine = self.current.engine
        counts = {status.name: n for status, n in zip(Status, engine.counts(), strict=True) if n}
        known = {rank: engine.running_job(rank - 1) for rank in range(1, self.plan.workers + 1)}
        return (
            f"{counts}, running jobs by rank as known to main {known}, in truth "
            f"{self.current.running}, lost {self.channel.lost}, away {self.channel.away}, "
            f"{self.network.n_in_flight} messages in flight, {self.current.n_expected} jobs not "
            f"submitted yet, ranks that have ended {self.ends}"
        )

    def rank_died(self, rank):
        slot = slice(rank * BYTES, (rank + 1) * BYTES)
        self.slots_of_dead[rank] = slot, bytes(self.memory[slot])
        for history in self.histories:
            history.rank_died(rank)

    # Calls of jobs

    def job_begun(self, number, rank, job):
        if not self.network.step(rank):
            raise RankDiedError
        self.histories[number].job_begun(rank, job, self.network.clock)
        self.network.record_change()
        self.n_run[rank] += 1
        self.die_in_job(rank, 0)

    def data_lost(self, number, rank, job):
        """A job cannot run, since data that it needs were lost."""
        history = self.histories[number]
        assert history.dead, f"data of job {job} were lost, but no rank has died"
        history.job_begun(rank, job, self.network.clock)
        history.ended_early.add(job)
        history.job_ended(rank, job)

    def job_halfway(self, rank):
        self.die_in_job(rank, 1)

    def job_ended(self, number, rank, job):
        if self.network.is_dead(rank):  # since the last check
            raise RankDiedError
        self.histories[number].job_ended(rank, job)
        self.network.record_change()
        self.die_in_job(rank, 2)

    def die_in_job(self, rank, phase):
        """Kill a rank if the plan says so for this phase of its present job."""
        death = self.deaths.get(rank)
        if death is not None and (death.job, death.phase) == (self.n_run[rank], phase):
            self.network.kill(rank)
            raise RankDiedError

    # Ranks

    def run(self):
        """Run the plan to its end; return the simulation."""
        ranks = range(1, self.plan.workers + 1)
        threads = [
            threading.Thread(target=self.run_worker, args=(rank,), daemon=True) for rank in ranks
        ]
        for thread in threads:
            thread.start()
        try:
            for number in range(len(self.plan.pools)):
                self.run_pool(number)
            self.network.set_limits(self.network.clock + 10_000 * MS, MAX_IDLE_NS)
            still_away = self.channel.await_returns(2.0)
            assert not still_away or self.network.is_dead(0), f"ranks {still_away} do not return"
        except BaseException as error:
            self.note_end(0, error)
        self.current = None
        self.main_has_ended = True
        self.network.finish(0)
        for thread in threads:
            thread.join(REAL_SECONDS)
            assert not thread.is_alive(), "a rank hangs outside of the network"
        if self.network.error is not None:
            raise self.network.error
        self.check_ends()
        return self

    def run_pool(self, number):
        pool = PoolRun(self, number)
        self.histories.append(pool.history)
        self.callbacks.append(pool.callbacks)
        self.current = pool.history
        pool.run()
        self.current = None
        pool.history.check_outcome(pool.callbacks.results)

    def run_worker(self, rank):
        self.network.start(rank)
        try:
            for number in range(len(self.plan.pools)):
                self.serve(number, rank)
            if self.has_leaders:
                self.relay(rank)
            self.ends[rank] = "done"
        except BaseException as error:
            self.note_end(rank, error)
        finally:
            if rank in self.slots_of_dead:
                slot, data = self.slots_of_dead[rank]
                self.memory[slot] = data
            self.network.finish(rank)

    def relay(self, rank):
        """Relay messages until main has ended, as a leader's thread does."""
        while not (self.main_has_ended or self.network.is_dead(0)):
            if not self.network.advance(rank, MS):
                return
            self.channels[rank].receive_unread()

    def note_end(self, rank, error):
        """Note the error that has ended a rank; halt unless a planned death explains it."""
        self.ends[rank] = type(error).__name__
        died = self.network.is_dead(rank) and isinstance(error, TransportError | RankDiedError)
        lost_main = isinstance(error, MainDiedError) and self.network.is_dead(0)
        if not (died or lost_main):
            self.network.halt(error)

    def serve(self, number, rank):
        channel = self.channels[rank]
        run_id = channel.open_run()
        callbacks = self.worker_callbacks(self, number, rank)
        callbacks.loop = loop = WorkerLoop(channel, run_id, callbacks)
        loop.may_hold = self.plan.makes_progress
        if self.plan.pools[number].direct:
            loop.enable_direct_calls(None, CallDepth())
        loop.run()
        if loop.must_report:
            loop.send_leave(b"the run has ended")
        channel.close_run(run_id)
        channel.receive_unread()

    def check_ends(self):
        main_died = self.network.is_dead(0)
        for rank, end in self.ends.items():
            expected = end == "done" or self.network.is_dead(rank)
            assert expected or main_died, f"rank {rank} was ended by {end}"


@contextmanager
def on_one_core():
    """Use one core: only one thread runs at a time, and waking one on another core is slow."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def simulate(plan, simulation=Simulation):
    """Run a plan; return the simulation, or raise the error of a failed check."""
    with on_one_core():
        return simulation(plan).run()
