"""An engine and its oracle, side by side: each event goes to both, then they must agree."""

from itertools import groupby
from operator import itemgetter

import pytest
from oracle import FINISHED, LEGAL, Oracle

from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine


class Pair:
    def __init__(self, n_workers=0, n_items=6):
        self.engine = ManualEngine()
        self.oracle = Oracle()
        self.tokens = [(1 << 63) + number for number in range(n_items)]
        self.items = [self.engine.add_cache_item(token) for token in self.tokens]
        if n_workers:
            self.engine.open_workers(n_workers)
            self.oracle.chains = {worker: [] for worker in range(n_workers)}
            self.oracle.limits = dict.fromkeys(range(n_workers), 1)

    # Making jobs

    def submit(self, deps=(), join=None, cache_set=None):
        number = self.engine.submit(
            deps, -1 if join is None else join, -1 if cache_set is None else cache_set
        )
        items = () if cache_set is None else self.oracle.sets[cache_set]
        assert number == self.oracle.submit(deps, join, items)
        return number

    def join(self, jobs):
        assert self.engine.add_join(jobs) == len(self.oracle.joins)
        self.oracle.joins.append(tuple(jobs))

    def cache_set(self, chosen):
        number = self.engine.add_cache_set([self.items[i] for i in chosen])
        assert number == len(self.oracle.sets)
        self.oracle.sets.append([self.tokens[i] for i in chosen])

    # Running jobs

    def start(self):
        self.engine.start_run()
        self.oracle.start()

    def end(self):
        self.engine.abort_run()
        self.oracle.end()

    def cancel(self, number):
        assert self.engine.cancel(number) is self.oracle.cancel(number)

    def take(self):
        ready = self.oracle.ready()
        number = self.engine.start_next()
        assert number == (ready[0] if ready else None)
        if ready:
            self.oracle.begin(number)
        return number

    def begin(self, number):
        self.engine.start_job(number)
        self.oracle.begin(number)

    def begin_wrongly(self, number):
        """A job that waits, was sent or has ended cannot begin; the error changes nothing."""
        before = self.oracle.jobs[number].status
        with pytest.raises(RuntimeError, match=f"from {before.name} to RUNNING"):
            self.engine.start_job(number)

    def finish(self, number, outcome):
        assert self.engine.finish(number, outcome) is self.oracle.finish(number, outcome)

    # With workers

    def assign(self):
        held = {worker: len(chain) for worker, chain in self.oracle.chains.items()}
        ready = self.oracle.ready()
        actions = self.engine.assign()
        taken_back = [(worker, job) for kind, worker, job in actions if kind == "SEND_SKIP"]
        sends = [(worker, job) for kind, worker, job in actions if kind == "SEND_JOB"]
        assert taken_back == self.oracle.take_backs
        assert [job for _, job in sends] == ready[: len(sends)]
        self.oracle.take_backs = []
        for worker, job in sends:
            self.oracle.place(worker, job)
        self.check_spread(held, n_left=len(ready) - len(sends))

    def check_spread(self, held, n_left):
        """No worker is idle while jobs are ready; no worker holds more than its limit."""
        loads = {worker: len(chain) for worker, chain in self.oracle.chains.items()}
        given = {worker: loads[worker] - held[worker] for worker in loads}
        busy = all(loads[worker] for worker in loads if worker not in self.oracle.held)
        assert n_left == 0 or busy
        assert busy or max(given.values()) <= 1
        for worker, n in given.items():
            assert n == 0 or loads[worker] <= self.oracle.limits[worker]
            assert n == 0 or worker not in self.oracle.held

    def done(self, worker, outcome, run_ns=1e3):
        """The worker reports the first of its jobs, as skipped if that is the outcome."""
        number = self.oracle.chains[worker][0]
        self.engine.done(worker, number, outcome, run_ns)
        if outcome is not Status.CANCELLED:
            self.oracle.measure(worker, run_ns)
        self.oracle.leave(worker, number, outcome)

    def unsend(self, worker, place, outcome):
        number = self.oracle.chains[worker][place]
        self.engine.undo_send(number, outcome)
        self.oracle.leave(worker, number, outcome)

    def give_back(self, worker, place):
        """The worker gives back a job behind its first one."""
        number = self.oracle.chains[worker][place]
        self.engine.give_back(worker, number)
        self.oracle.give_back(worker, number)

    def lose(self, worker, last=-1):
        """The worker fails; `last` is the last job that it is known to have begun."""
        assert self.engine.begun_jobs(worker, last) == self.oracle.begun(worker, last)
        self.engine.worker_failed(worker, last)
        self.oracle.lose(worker, last)

    def hold(self, worker, held=True):
        self.engine.set_available(worker, not held)
        (self.oracle.held.add if held else self.oracle.held.discard)(worker)

    # Comparing

    def track_all(self):
        self.engine.track_all()
        self.oracle.watches_all = True

    def watch(self, number):
        assert self.engine.track(number) is self.oracle.jobs[number].status
        self.oracle.jobs[number].tracked = True

    def pop_unneeded(self):
        assert set(self.engine.pop_unneeded()) == self.oracle.dropped
        self.oracle.dropped = set()

    def agree(self):
        engine, oracle = self.engine, self.oracle
        check(engine)
        numbers = range(len(oracle.jobs))
        assert len(engine) == len(numbers)
        statuses = [job.status for job in oracle.jobs]
        assert [engine.status(number) for number in numbers] == statuses
        assert engine.counts() == tuple(statuses.count(status) for status in Status)
        assert engine.unfinished == sum(status not in FINISHED for status in statuses)
        assert [engine.dependency_failed(number) for number in numbers] == [
            j.broken for j in oracle.jobs
        ]
        assert [engine.ended_by_run(number) for number in numbers] == [
            j.cut_off for j in oracle.jobs
        ]
        busy = oracle.ready() or oracle.sent() or Status.RUNNING in statuses
        assert engine.idle is not bool(busy)
        assert {number for number in numbers if engine.is_sent(number)} == oracle.sent()
        assert engine.n_unavailable == len(oracle.held)
        for worker, chain in oracle.chains.items():
            assert engine.running_job(worker) == (chain[0] if chain else None)
        needed = oracle.needed()
        assert engine.needed_items == [token for token in self.tokens if token in needed]
        self.compare_changes()

    def compare_changes(self):
        """Each change once, legal, and in order; between jobs the order is the engine's."""
        changes = self.engine.pop_changes()
        assert all(new in LEGAL[old] for _, old, new in changes)
        assert by_job(changes) == by_job(self.oracle.changes)
        assert self.engine.pop_changes() == []
        self.oracle.changes = []


def by_job(changes):
    job = itemgetter(0)
    return {number: list(group) for number, group in groupby(sorted(changes, key=job), job)}
