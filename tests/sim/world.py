"""One simulated run: ranks in threads, of which one goes at a time, and what happens to them."""

import os
import threading
from contextlib import contextmanager
from functools import partial

from bsbpool._core.comm.channel import Channel, TransportError
from bsbpool._core.comm.wakeup import AVAILABLE, BYTES, Wakeup
from bsbpool._core.jobs.invoke import CallDepth
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.simulated_network import SimulatedNetwork
from sim.callbacks import DiedError, MainCallbacks, MainDiedError, WorkerCallbacks
from sim.plan import MS
from sim.pools import PATIENCE_NS, PoolRun

REAL_SECONDS = 20


class World:
    """Runs a plan; `run` raises what is wrong."""

    main_callbacks = MainCallbacks
    worker_callbacks = WorkerCallbacks

    def __init__(self, plan):
        self.plan = plan
        self.network = SimulatedNetwork(
            plan.workers + 1, plan.seed, plan.latency, plan.preempt, plan.wakeup, plan.slow
        )
        self.network.on_pass = self.look
        self.network.on_late = self.late
        self.network.on_death = self.died
        self.memory = bytearray((plan.workers + 1) * BYTES)
        self.kept = {}  # what dead ranks had in it
        self.channels = [self.make_channel(rank) for rank in range(plan.workers + 1)]
        self.channel = self.channels[0]
        self.ledgers = []
        self.callbacks = []  # of main
        self.current = None
        self.n_run = [0] * (plan.workers + 1)
        self.left = {}  # rank: why it left
        self.deaths = {death.rank: death for death in plan.deaths}
        self.prepare_deaths()

    def make_channel(self, rank):
        wakeup = None
        if self.plan.notes and AVAILABLE:
            n = self.plan.workers + 1
            wakeup = Wakeup(self.memory, range(n), rank, n)
        crowded = not self.plan.spins
        return Channel(self.network.transport(rank), crowded=crowded, wakeup=wakeup)

    def prepare_deaths(self):
        for death in self.plan.deaths:
            self.network.doom(death.rank, death.step, death.half, death.keep, death.told_after)
            if death.at >= 0:
                self.network.at(
                    self.network.clock + death.at, partial(self.network.kill, death.rank)
                )

    def token(self, number, item):
        return (1 << 63) + number * 16 + item

    # What the network says

    def look(self):
        if self.current is not None:
            self.current.look()

    def late(self, reason):
        raise AssertionError(f"{reason}: {self.describe()}")

    def describe(self):
        """Say who waits for what."""
        if self.current is None:
            return f"ranks left so far: {self.left}"
        engine = self.current.engine
        counts = {status.name: n for status, n in zip(Status, engine.counts(), strict=True) if n}
        chains = {rank: engine.running_job(rank - 1) for rank in range(1, self.plan.workers + 1)}
        return (
            f"{counts}, main thinks that {chains} run, in truth {self.current.running}, lost "
            f"{self.channel.lost}, away {self.channel.away}, {self.network.under_way} messages "
            f"under way, {self.current.due} submissions due, left {self.left}"
        )

    def died(self, rank):
        slot = slice(rank * BYTES, (rank + 1) * BYTES)
        self.kept[rank] = slot, bytes(self.memory[slot])
        for ledger in self.ledgers:
            ledger.died(rank)

    # What jobs say

    def begin(self, number, rank, job):
        if not self.network.step(rank):
            raise DiedError
        self.ledgers[number].begin(rank, job, self.network.clock)
        self.network.touch()
        self.n_run[rank] += 1
        self.die_in_job(rank, 0)

    def halfway(self, rank):
        self.die_in_job(rank, 1)

    def ended(self, number, rank, job):
        self.ledgers[number].end(rank, job)
        self.network.touch()
        self.die_in_job(rank, 2)

    def die_in_job(self, rank, during):
        death = self.deaths.get(rank)
        if death is not None and (death.job, death.during) == (self.n_run[rank], during):
            self.network.kill(rank)
            raise DiedError

    # Ranks

    def run(self):
        """Run the plan to its end; return this."""
        ranks = range(1, self.plan.workers + 1)
        threads = [threading.Thread(target=self.work, args=(rank,), daemon=True) for rank in ranks]
        for thread in threads:
            thread.start()
        try:
            for number in range(len(self.plan.pools)):
                self.run_pool(number)
            self.network.limit(self.network.clock + 10_000 * MS, PATIENCE_NS)
            still_away = self.channel.await_returns(2.0)
            assert not still_away or self.network.is_dead(0), f"ranks {still_away} do not come back"
        except BaseException as error:
            self.note_end(0, error)
        self.current = None
        self.network.leave(0)
        for thread in threads:
            thread.join(REAL_SECONDS)
            assert not thread.is_alive(), "a rank is stuck, and not in the network"
        if self.network.trouble is not None:
            raise self.network.trouble
        self.check_ends()
        return self

    def run_pool(self, number):
        pool = PoolRun(self, number)
        self.ledgers.append(pool.ledger)
        self.callbacks.append(pool.callbacks)
        self.current = pool.ledger
        pool.run()
        self.current = None
        pool.ledger.close(pool.callbacks.results)

    def work(self, rank):
        self.network.enter(rank)
        try:
            for number in range(len(self.plan.pools)):
                self.serve(number, rank)
            self.left[rank] = "done"
        except BaseException as error:
            self.note_end(rank, error)
        finally:
            if rank in self.kept:
                slot, data = self.kept[rank]
                self.memory[slot] = data
            self.network.leave(rank)

    def note_end(self, rank, error):
        self.left[rank] = type(error).__name__
        died = self.network.is_dead(rank) and isinstance(error, TransportError | DiedError)
        bereft = isinstance(error, MainDiedError) and self.network.is_dead(0)
        if not (died or bereft):
            self.network.halt(error)

    def serve(self, number, rank):
        channel = self.channels[rank]
        run_id = channel.open_run()
        callbacks = self.worker_callbacks(self, number, rank)
        callbacks.loop = loop = WorkerLoop(channel, run_id, callbacks)
        if self.plan.pools[number].direct:
            loop.enable_direct_calls(None, CallDepth())
        if loop.run():
            loop.send_leave(b"the run has ended")
        channel.close_run(run_id)
        channel.receive_unread()

    def check_ends(self):
        main_died = self.network.is_dead(0)
        for rank, why in self.left.items():
            fine = why == "done" or self.network.is_dead(rank)
            assert fine or main_died, f"rank {rank} left: {why}"


@contextmanager
def on_one_core():
    """Keep to one core: only one thread goes at a time, and to wake one on another core is slow."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def simulate(plan, world=World):
    """Run a plan; return the world, or raise AssertionError or what else is wrong."""
    with on_one_core():
        return world(plan).run()
