"""A main rank and workers as threads of this process: the loops without MPI."""

import threading
import time
from contextlib import contextmanager

from bsbpool._core.comm.channel import Channel
from bsbpool._core.runtime.main_loop import MainLoop
from bsbpool._core.runtime.worker_loop import WorkerLoop
from bsbpool._core.testing.inprocess_transport import InProcessNetwork
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine

PATIENCE = 60.0
"""Seconds after which a test that should have ended fails instead of hanging."""


class MainCallbacks:
    """Jobs are a function's number and bytes; results are kept as they come."""

    def __init__(self, engine, functions):
        self.engine = engine
        self.names = [name.encode() for name in functions]
        self.parcels = {}
        self.results = {}
        self.requirements = {}
        self.to_evict = []
        self.terminated = []
        self.died = []
        self.output = []  # (job, stream, text)
        self.on_turn = lambda: None
        self.until = lambda: engine.unfinished == 0
        self.give_up = time.monotonic() + PATIENCE

    def encode_job(self, job, worker):
        return self.parcels.get(job)

    def encode_function(self, number):
        return 0, self.names[number], []

    def required_functions(self, number):
        return self.requirements.get(number, ())

    def take_evicted(self):
        evicted, self.to_evict = self.to_evict, []
        return evicted

    def store_reply(self, job, flags, payload, buffers, seconds):
        assert seconds >= 0
        self.results[job] = (flags, bytes(payload), buffers)

    def job_output(self, job, stream, text):
        self.output.append((job, stream, bytes(text)))

    def data_parcel(self, id):
        return None

    def process_events(self):
        check(self.engine)
        self.on_turn()
        assert time.monotonic() < self.give_up, "the jobs did not end in time"
        return self.until()

    def timeout(self):
        return 0.01

    def rank_left(self, rank, reason):
        self.terminated.append((rank, bytes(reason)))

    def rank_lost(self, rank, jobs):
        self.died.append((rank, jobs))


class WorkerCallbacks:
    """Functions come by name; `log` keeps all that the loop asked for, in order."""

    def __init__(self, functions):
        self.functions = functions
        self.log = []
        self.loop = None

    def load_function(self, flags, payload, buffers):
        self.log.append(("load", bytes(payload).decode()))
        return self.functions[bytes(payload).decode()]

    def run_job(self, job, function, flags, payload, buffers):
        self.log.append(("run", job))
        return function(payload, buffers)

    def items_needed(self, tokens):
        self.log.append(("needed", sorted(tokens)))

    def items_unneeded(self, tokens):
        self.log.append(("unneeded", sorted(tokens)))

    def logged(self, kind):
        return [what for logged, what in self.log if logged == kind]


class Worker(threading.Thread):
    """A worker rank that serves a number of runs in sequence."""

    def __init__(self, rank, network, functions, runs, threads):
        super().__init__(daemon=True)
        self.channel = Channel(network.transport(rank, threads), crowded=True)
        self.callbacks = [WorkerCallbacks(functions) for _ in range(runs)]
        self.endings = []
        self.error = None

    def run(self):
        try:
            for callbacks in self.callbacks:
                self.serve(callbacks)
        except BaseException as error:
            self.error = error

    def serve(self, callbacks):
        run_id = self.channel.open_run()
        callbacks.loop = loop = WorkerLoop(self.channel, run_id, callbacks)
        self.endings.append(loop.run())
        self.channel.close_run(run_id)


class Run:
    """One run on the main rank."""

    def __init__(self, cluster):
        self.ranks = cluster
        self.channel = cluster.channel
        self.run_id = self.channel.open_run()
        self.engine = ManualEngine()
        self.engine.open_workers(len(cluster.workers))
        self.callbacks = MainCallbacks(self.engine, cluster.functions)
        self.loop = MainLoop(self.engine, self.channel, self.run_id, self.callbacks)
        self.numbers = {name: number for number, name in enumerate(cluster.functions)}

    def submit(self, name, payload=b"", buffers=(), **options):
        """Add a job that calls the function of that name."""
        job = self.engine.submit(**options)
        self.callbacks.parcels[job] = (self.numbers[name], 0, payload, list(buffers))
        return job

    def execute(self):
        """Run all jobs; return their results."""
        self.engine.start_run()
        self.loop.run()
        return self.callbacks.results

    def stop(self, aborted=False):
        self.loop.stop(aborted)
        self.channel.close_run(self.run_id)


class Cluster:
    """Use it through `cluster`.

    Attributes
    ----------
    functions : dict
        The functions that jobs call by name: ``f(payload, buffers) -> (ok, payload, buffers)``.
    """

    def __init__(self, n_workers, functions, runs=1, threads=False):
        self.functions = functions
        self.network = InProcessNetwork(n_workers + 1)
        self.channel = Channel(self.network.transport(0), crowded=True)
        self.workers = [
            Worker(rank, self.network, functions, runs, threads)
            for rank in range(1, n_workers + 1)
        ]

    def callbacks_of(self, worker, run=0):
        return self.workers[worker].callbacks[run]


@contextmanager
def cluster(n_workers, functions, runs=1, threads=False):
    """Make ranks 1 to `n_workers` serve `runs` runs; all must have ended at the end.

    With `threads`, they have progress threads.
    """
    made = Cluster(n_workers, functions, runs, threads)
    for worker in made.workers:
        worker.start()
    yield made
    for worker in made.workers:
        worker.join(PATIENCE)
        assert not worker.is_alive(), "a worker does not stop"
        if worker.error is not None:
            raise worker.error


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition did not become true in time"
        time.sleep(0.0005)
