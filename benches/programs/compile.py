"""Compile the network of the examples with BSB, on the pool and the lock that are asked for.

With ``--profile`` each rank adds up the time that it spends on each cause; causes inside of another
one are not counted twice.
"""

import functools
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from benches.programs.common import Meter, options, say

EXAMPLES = Path(__file__).parents[2] / "examples"
REST = "pool and rest"


class Causes:
    """Exclusive times by cause: a stack of what this rank is doing."""

    def __init__(self):
        self.seconds, self.cpu, self.calls = {}, {}, {}
        self._stack, self._since, self._used = [REST], time.perf_counter(), time.thread_time()

    def enter(self, cause):
        self._add()
        self._stack.append(cause)
        self.calls[cause] = self.calls.get(cause, 0) + 1

    def leave(self):
        self._add()
        self._stack.pop()

    def _add(self):
        now, used = time.perf_counter(), time.thread_time()
        cause = self._stack[-1]
        self.seconds[cause] = self.seconds.get(cause, 0.0) + now - self._since
        self.cpu[cause] = self.cpu.get(cause, 0.0) + used - self._used
        self._since, self._used = now, used

    def table(self):
        """Return for each cause the seconds, the seconds of CPU time, and how often it began."""
        self._add()
        return {
            cause: (round(seconds, 3), round(self.cpu[cause], 3), self.calls.get(cause, 0))
            for cause, seconds in self.seconds.items()
        }

    def wrap(self, owner, name, cause):
        """Count the time in a function of a class or module."""
        f = getattr(owner, name)

        @functools.wraps(f)
        def counted(*args, **kwargs):
            self.enter(cause)
            try:
                return f(*args, **kwargs)
            finally:
                self.leave()

        setattr(owner, name, staticmethod(counted) if name == "execute" else counted)

    def wrap_locks(self, controllers):
        """Count the times to acquire and to release locks."""
        for owner in controllers:
            for kind in ("read", "write"):
                make = getattr(owner, kind)
                setattr(owner, kind, lambda *args, make=make: TimedLock(make(*args), self))


class TimedLock:
    """A lock, timed."""

    def __init__(self, lock, causes):
        self._lock, self._causes = lock, causes

    def __enter__(self):
        self._causes.enter("lock")
        try:
            return self._lock.__enter__()
        finally:
            self._causes.leave()

    def __exit__(self, *error):
        self._causes.enter("lock")
        try:
            return self._lock.__exit__(*error)
        finally:
            self._causes.leave()


def watch(causes, with_bsbpool):
    """Count the causes of BSB's storage, configuration and strategies."""
    import h5py
    from bsb import ConnectionStrategy, PlacementStrategy

    causes.wrap(h5py.File, "__init__", "HDF5 open and close")
    causes.wrap(h5py.File, "close", "HDF5 open and close")
    causes.wrap(h5py.File, "__exit__", "HDF5 open and close")
    for name in ("__getitem__", "__setitem__", "resize"):
        causes.wrap(h5py.Dataset, name, "HDF5 data")
    for name in ("create_dataset", "__getitem__", "require_group", "create_group"):
        causes.wrap(h5py.Group, name, "HDF5 data")
    causes.wrap(h5py.AttributeManager, "__getitem__", "HDF5 data")
    causes.wrap(h5py.AttributeManager, "__setitem__", "HDF5 data")
    if with_bsbpool:
        from bsbpool.integrations.bsb import jobs
        from bsbpool.locking import LockController

        causes.wrap(jobs.PlacementJob, "execute", "placement")
        causes.wrap(jobs.ConnectivityJob, "execute", "connectivity")
        causes.wrap_locks([LockController])
    else:
        from bsb.services import pool as jobs

        causes.wrap(jobs.PlacementJob, "execute", "placement")
        causes.wrap(jobs.ConnectivityJob, "execute", "connectivity")
    if os.environ["BSBPOOL_LOCK"] == "mpilock" or not with_bsbpool:
        import mpilock

        causes.wrap_locks([mpilock.WindowController])
    for strategy in (PlacementStrategy, ConnectionStrategy):
        causes.wrap(strategy, "queue", "queueing")


def main() -> None:
    given = options(pool="bsbpool", lock="native", size="small", profile=False, digest=False)
    os.environ["BSBPOOL_LOCK"] = given.lock
    os.environ.setdefault("UCX_LOG_LEVEL", "error")
    sys.path.insert(0, str(EXAMPLES))
    if given.pool == "bsbpool":
        from bsbpool.integrations import bsb as adapter

        adapter.install()
    import network
    from bsb import MPI

    main_rank = MPI.get_rank() == 0
    with tempfile.TemporaryDirectory() as own:
        folder = MPI.bcast(own, root=0)
        events = []
        MPI.barrier()
        causes = Causes()
        if given.profile:
            watch(causes, given.pool == "bsbpool")
        causes.enter("configuration")
        meter = Meter()
        import cerebellum
        from bsb import Scaffold

        path = Path(folder) / "network.hdf5"
        scaffold = Scaffold(cerebellum.configuration(given.size, path))
        if main_rank:
            for name, morphology in cerebellum.morphologies().items():
                scaffold.morphologies.save(name, morphology)
        MPI.barrier()
        causes.leave()
        scaffold.register_listener(lambda event: events.append(event.reason.name), max_wait=0.5)
        scaffold.compile()
        figures = meter.read()
        MPI.barrier()
        parts = MPI.gather(causes.table(), root=0)
        if main_rank:
            extra = {}
            if given.digest:
                found = json.dumps(network.digests(scaffold), sort_keys=True)
                extra["digest"] = hashlib.sha256(found.encode()).hexdigest()
            if given.profile:
                extra["ranks"] = parts
            say(jobs=events.count("JOB_ADDED"), **figures, **extra)
        MPI.barrier()


if __name__ == "__main__":
    main()
