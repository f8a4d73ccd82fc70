"""An engine and its oracle, side by side: each event goes to both, then they must agree."""

from itertools import groupby
from operator import itemgetter

import pytest
from oracle import ALL, FINISHED, LEGAL, Options, Oracle
from placing import check_order, check_rest

from bsbpool._core.scheduling.engine_options import EngineOptions, JobSpec
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
        self.options = EngineOptions(self.engine)

    def add_stocks(self, stocks):
        """Give workers resources: triples of a kind, units and workers. Kind 0 are devices."""
        self.options.open_resources(2)
        for kind, units, workers in stocks:
            self.options.add_stock(kind, units, workers, kind == 0)
            self.oracle.stocks[kind, frozenset(workers)] = units

    # Making jobs

    def submit(self, deps=(), joins=(), cache_set=None):
        number = self.engine.submit(deps, joins, -1 if cache_set is None else cache_set)
        items = () if cache_set is None else self.oracle.sets[cache_set]
        assert number == self.oracle.submit(deps, joins, items)
        return number

    def submit_special(self, deps=(), joins=(), **options):
        """Submit a job with the options of the oracle's `Options`."""
        given = Options(**options)
        spec = JobSpec(
            self.engine,
            priority=given.priority,
            targets=-1 if given.targets is None else self.options.add_worker_set(given.targets),
            demand=self.options.add_demand(given.needs.items()) if given.needs else -1,
            follow=given.follow,
            strict=given.strict,
            grace_ns=given.grace,
            prefer=self.options.add_worker_set(given.prefer) if given.prefer else -1,
            retries=given.retries,
            lost_retries=given.lost_retries,
            elsewhere=given.elsewhere,
        )
        number = self.engine.submit(deps, joins, spec=spec)
        assert number == self.oracle.submit(deps, joins, options=given)
        return number

    def join(self, jobs, mode=ALL):
        assert self.engine.add_join(jobs, mode) == len(self.oracle.joins)
        self.oracle.joins.append((mode, tuple(jobs)))
        return len(self.oracle.joins) - 1

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
        self.oracle.take_backs = []
        if any(job.is_special for job in self.oracle.jobs):
            self.place_special([action for action in actions if action[0] != "SEND_SKIP"])
            return
        assert [job for _, job in sends] == ready[: len(sends)]
        for worker, job in sends:
            self.oracle.place(worker, job)
        self.check_spread(held, n_left=len(ready) - len(sends))

    def place_special(self, actions):
        """Check each action against the state before it, and that the rest has to wait."""
        waiting = self.oracle.ready()
        for kind, worker, job in actions:
            if kind == "REFUSE_JOB":
                assert not self.oracle.allowed(job), f"job {job} can run"
                waiting.remove(job)
                continue
            check_order(self, waiting, worker, job)
            waiting.remove(job)
            self.oracle.place(worker, job)
        check_rest(self, waiting)
        for kind, _, job in actions:
            if kind == "REFUSE_JOB":
                self.finish(job, Status.FAILED)

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

    def retry(self, worker, run_ns=1e3):
        """The worker reports that the first of its jobs has failed, which may be retried."""
        number = self.oracle.chains[worker][0]
        self.engine.retry(worker, number, run_ns)
        self.oracle.measure(worker, run_ns)
        self.oracle.retry(worker, number)

    def retry_here(self, number):
        assert self.options.retry(number) is self.oracle.retry_here(number)

    def prefer(self, number, worker):
        self.options.prefer(number, worker)
        self.oracle.jobs[number].options.prefer = {worker}
        if number in self.oracle.ready():
            self.oracle.begin_wait(number)

    def advance(self, ns):
        self.oracle.now += ns
        self.engine.set_time(self.oracle.now)

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
        self.compare_options()
        self.compare_changes()

    def compare_options(self):
        for number, job in enumerate(self.oracle.jobs):
            assert self.options.attempts(number) == job.attempts + job.losses
            assert self.options.retries_left(number) == job.options.retries - job.attempts
            assert (
                self.options.retries_left(number, lost=True)
                == job.options.lost_retries - job.losses
            )
            assert self.options.last_worker(number) == job.ran_on
        if self.oracle.chains:
            for (kind, workers), units in self.oracle.free().items():
                assert units >= 0
                for worker in workers:
                    assert self.options.free_units(worker, kind) == units

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
