"""Simulated runs with jobs on several ranks: the loops on a simulated network, from a seed.

What MPI does inside of a job is simulated, too: making a communicator, and a collective call in the
middle of each job. Both wait for all ranks of the job, as long as these are alive. A run that hangs
fails, since its time is limited.
"""

import random
import struct
import threading

from bsbpool._core.comm.channel import Channel, TransportError
from bsbpool._core.jobs.invoke import InterruptKind
from bsbpool._core.protocol.wire import ReplyFlag
from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool._core.scheduling.engine_options import EngineOptions, JobSpec
from bsbpool._core.scheduling.status import Status, terminal
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine
from bsbpool._core.testing.simulated_network import SimulatedNetwork
from sim.callbacks import AllLostError, JobError, MainDiedError, RankDiedError
from sim.plan import MS
from sim.simulation import REAL_SECONDS, on_one_core

ENDED = terminal()
FAILED, OK = 0, 1
STEP_NS = 20_000
MOST_COMMUNICATORS = 8


class Drawn:
    """A job: how many ranks run it, for how long, and on which of them it fails."""

    def __init__(self, draw, workers):
        self.n_ranks = draw.choice([0, 0, draw.randint(1, workers), draw.randint(1, workers)])
        self.duration = draw.choice([1_000, 100_000, 3 * MS])
        self.fails_on = draw.randrange(self.n_ranks) if self.n_ranks and draw.random() < 0.1 else -1
        self.retries = draw.randint(0, 2)
        self.priority = draw.choice([0, 0, 0, 1, -1])
        self.gathers = draw.random() < 0.4
        self.cancel_at = draw.randint(0, 10 * MS) if draw.random() < 0.1 else 0


class MainCallbacks:
    """The callbacks of the main rank."""

    def __init__(self, run):
        self.run = run
        self.results, self.gathered, self.errors = {}, {}, set()

    def encode_job(self, number, worker):
        self.run.network.step(0)
        return 0, 0, b"%d" % number, ()

    def encode_function(self, number):
        return 0, b"0", ()

    def required_functions(self, number):
        return ()

    def take_evicted(self):
        return []

    def gang_started(self, number, ranks):
        assert len(ranks) == self.run.jobs[number].n_ranks
        assert not self.run.inside[number], f"job {number} runs again too early"
        self.run.n_starts[number] += 1
        return self.run.jobs[number].gathers

    def store_gathered(self, number, parts):
        assert len(parts) == self.run.jobs[number].n_ranks
        self.gathered[number] = [struct.unpack("<I", part)[0] for _, part, _ in parts]
        return True

    def gang_stuck(self, number, ranks, retries):
        raise AssertionError(f"ranks {ranks} do not leave job {number}")

    def store_reply(self, number, flags, payload, buffers, seconds):
        if flags & ReplyFlag.OUTCOME_BITS == OK:
            self.results[number] = struct.unpack("<I", payload)[0]
            return False
        self.errors.add(number)
        is_open = self.run.engine.status(number) not in ENDED
        return is_open and self.run.retries_left(number) > 0

    def refuse_job(self, number):
        alive = self.run.plan_workers - len(self.run.channels[0].lost)
        assert alive < max(self.run.jobs[number].n_ranks, 1)

    def rank_lost(self, rank, jobs):
        self.errors.update(jobs)

    def rank_left(self, rank, reason):
        raise AssertionError(f"rank {rank} left: {bytes(reason)}")

    def job_ended(self, number, seconds):
        """Nothing to log."""

    def process_events(self):
        check(self.run.engine)
        if self.run.engine.unfinished == 0:
            return True
        if len(self.run.channels[0].lost) == self.run.plan_workers:
            raise AllLostError
        assert not self.run.engine.idle, "a deadlock: jobs wait, and none can run"
        return False

    def timeout(self):
        return self.run.loop.gangs.check() if self.run.loop.gangs.failing else 60.0


class WorkerCallbacks:
    """The callbacks of a worker."""

    def __init__(self, run, rank):
        self.run, self.rank = run, rank
        self.loop = None
        self.communicators = {}
        self.present = None

    def load_function(self, flags, payload, buffers):
        return None, 1

    def gang_formed(self, number, serial, ranks):
        ranks = tuple(ranks)
        assert self.rank in ranks
        if serial not in self.communicators:
            self.communicators[serial] = ranks
            assert len(self.communicators) <= MOST_COMMUNICATORS
            self.wait_for(("make", serial), ranks, number, interruptible=False)
        assert self.communicators[serial] == ranks
        self.present = number, ranks

    def gang_freed(self, serial, discarded):
        assert self.communicators.pop(serial)

    def wait_for(self, name, ranks, number, interruptible):
        """Wait inside MPI for other ranks; those that have died do not come."""
        run = self.run
        run.arrived.setdefault(name, set()).add(self.rank)
        while not run.arrived[name].issuperset(ranks):
            if interruptible:
                self.loop.make_progress()
                if self.loop.running_job.interrupted(number):
                    raise JobError
            self.advance(STEP_NS)
            if any(run.network.is_dead(rank) for rank in ranks):
                if interruptible:
                    raise JobError  # as with a communicator that was revoked
                return

    def advance(self, ns):
        if not self.run.network.advance(self.rank, ns):
            raise RankDiedError

    def run_job(self, number, function, flags, payload, buffers):
        assert int(bytes(payload)) == number
        run, job = self.run, self.run.jobs[number]
        ranks = (self.rank,)
        if job.n_ranks:
            assert self.present is not None and self.present[0] == number
            ranks = self.present[1]
        assert self.rank not in run.busy, f"rank {self.rank} runs two jobs"
        run.busy[self.rank] = number
        run.inside[number].add(self.rank)
        try:
            self.part(number, job, ranks)
        except JobError:
            return FAILED, b"", ()
        finally:
            if not run.network.is_dead(self.rank):
                del run.busy[self.rank]
                run.inside[number].discard(self.rank)
        return OK, struct.pack("<I", number * 100 + self.rank), ()

    def part(self, number, job, ranks):
        self.advance(job.duration // 2)
        if job.n_ranks:
            if ranks.index(self.rank) == job.fails_on:
                raise JobError
            name = "collective", number, self.run.n_starts[number]
            self.wait_for(name, ranks, number, interruptible=True)
        self.advance(job.duration - job.duration // 2)

    def job_failed(self, number, function, error):
        raise error

    def ranks_died(self):
        return True

    def main_lost(self, rank):
        raise MainDiedError


class GangSimulation:
    """Draws a run from a seed and runs it.

    Parameters
    ----------
    seed : int
        The seed.
    """

    def __init__(self, seed):
        draw = random.Random(seed)
        self.plan_workers = workers = draw.randint(1, 6)
        self.jobs = [Drawn(draw, workers) for _ in range(draw.randint(1, 25))]
        self.network = SimulatedNetwork(
            workers + 1, seed, draw.choice([500, 5_000, 100_000]), draw.choice([0, 0, 3])
        )
        self.network.on_timeout = self.raise_timeout
        self.channels = [Channel(self.network.transport(rank)) for rank in range(workers + 1)]
        self.engine = ManualEngine()
        self.engine.open_workers(workers)
        self.arrived, self.busy = {}, {}
        self.inside = [set() for _ in self.jobs]
        self.n_starts = [0] * len(self.jobs)
        self.dying = []
        if workers > 1 and draw.random() < 0.4:
            self.dying = draw.sample(range(1, workers + 1), draw.randint(1, workers - 1))
        for rank in self.dying:
            self.network.plan_death(rank, report_delay=draw.choice([0, 1000, MS]))
            at = draw.randint(0, 10 * MS)
            self.network.call_at(self.network.clock + at, lambda rank=rank: self.kill(rank))

    def kill(self, rank):
        self.network.kill(rank)
        self.busy.pop(rank, None)
        for ranks in self.inside:
            ranks.discard(rank)

    def raise_timeout(self, reason):
        statuses = [self.engine.status(job).name for job in range(len(self.engine))]
        raise AssertionError(f"{reason}: {statuses}, {self.busy}, {self.inside}, {self.arrived}")

    def retries_left(self, number):
        return self.options_of.retries_left(number)

    def run(self):
        """Run the plan to its end, and check the outcome."""
        self.options_of = EngineOptions(self.engine)
        ranks = range(1, self.plan_workers + 1)
        threads = [
            threading.Thread(target=self.run_worker, args=(rank,), daemon=True) for rank in ranks
        ]
        for thread in threads:
            thread.start()
        self.callbacks = MainCallbacks(self)
        try:
            self.run_main()
        except BaseException as error:
            self.network.halt(error)
        self.network.finish(0)
        for thread in threads:
            thread.join(REAL_SECONDS)
            assert not thread.is_alive(), "a rank hangs outside of the network"
        if self.network.error is not None:
            raise self.network.error
        self.check_outcome()
        return self

    def run_main(self):
        run_id = self.channels[0].open_run()
        self.loop = MainLoop(self.engine, self.channels[0], run_id, self.callbacks)
        for job in self.jobs:
            number = self.engine.submit(
                spec=JobSpec(
                    self.engine,
                    n_ranks=job.n_ranks,
                    priority=job.priority,
                    retries=job.retries,
                    lost_retries=job.retries,
                )
            )
            if job.cancel_at:
                at = self.network.clock + job.cancel_at
                self.network.call_at(at, lambda number=number: self.cancel(number))
        self.network.set_limits(self.network.clock + 60_000 * MS, 4_000 * MS)
        self.engine.start_run()
        try:
            self.loop.run()
        except AllLostError:
            self.engine.abort_run()
        self.loop.stop(False)
        self.channels[0].close_run(run_id)

    def cancel(self, number):
        if self.engine.cancel(number) is Status.RUNNING:
            self.loop.interrupt(number, int(InterruptKind.CANCEL_INTERRUPT))

    def run_worker(self, rank):
        self.network.start(rank)
        callbacks = WorkerCallbacks(self, rank)
        try:
            channel = self.channels[rank]
            run_id = channel.open_run()
            callbacks.loop = loop = WorkerLoop(channel, run_id, callbacks)
            loop.run()
            if loop.must_report:
                loop.send_leave(b"the run has ended")
            channel.close_run(run_id)
        except (TransportError, RankDiedError) as error:
            if not self.network.is_dead(rank):
                self.network.halt(error)
        except BaseException as error:
            self.network.halt(error)
        finally:
            self.network.finish(rank)

    def check_outcome(self):
        for number, job in enumerate(self.jobs):
            status = self.engine.status(number)
            assert status in ENDED
            if status is Status.SUCCESS and job.n_ranks and job.gathers:
                values = self.callbacks.gathered[number]
                assert values == sorted(set(values))
                assert len(values) == job.n_ranks
            elif status is Status.SUCCESS:
                assert self.callbacks.results[number] // 100 == number
            elif status is Status.FAILED and number in self.callbacks.errors:
                assert job.fails_on >= 0 or self.dying
            elif status is Status.ABORTED:
                assert self.dying
            if not self.dying and not job.cancel_at:
                assert (status is Status.SUCCESS) == (job.fails_on < 0)


def simulate_gangs(seed):
    """Run the simulation of a seed; raises the first failed check."""
    with on_one_core():
        return GangSimulation(seed).run()
