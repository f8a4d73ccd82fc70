"""Hypothesis looks for a history in which an engine and its oracle disagree."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from oracle import FINISHED
from pair import Pair

from bsbpool._core.scheduling.status import Status

PICK = st.integers(0, 2**16)
PICKS = st.lists(PICK, max_size=4)
ENDINGS = st.sampled_from([Status.SUCCESS, Status.SUCCESS, Status.SUCCESS, Status.FAILED])
N_WORKERS = 3
STOCKS = [(0, 2, [0]), (0, 1, [1]), (1, 3, [1, 2])]
WORKERS = st.integers(0, N_WORKERS - 1)
GRACES = st.sampled_from([0, 0, 1000, 10**6])
RUN_NS = st.sampled_from([0.0, 1e3, 1e5, 1e6, 1e8])


def chosen(candidates, pick):
    return candidates[pick % len(candidates)]


class SerialMachine(RuleBasedStateMachine):
    """Jobs run in the process that holds the engine."""

    n_workers = 0

    @initialize(watches_all=st.booleans())
    def make(self, watches_all):
        self.pair = Pair(self.n_workers)
        self.oracle = self.pair.oracle
        self.pair.add_stocks(STOCKS if self.n_workers else [(0, 2, [0]), (1, 3, [0])])
        if watches_all:
            self.pair.track_all()

    @invariant()
    def agree(self):
        self.pair.agree()

    @rule(picks=PICKS, picked_joins=st.lists(PICK, max_size=2), cache_set=st.none() | PICK)
    def submit(self, picks, picked_joins, cache_set):
        n, joins, sets = len(self.oracle.jobs), len(self.oracle.joins), len(self.oracle.sets)
        self.pair.submit(
            [pick % n for pick in picks] if n else [],
            {pick % joins for pick in picked_joins} if joins else (),
            None if cache_set is None or not sets else cache_set % sets,
        )

    @rule(
        picks=PICKS,
        priority=st.integers(-2, 2),
        places=st.none() | st.sets(st.integers(0, N_WORKERS - 1)),
        needs=st.dictionaries(st.integers(0, 1), st.integers(0, 3)),
        follow=PICKS,
        strict=st.booleans(),
        grace=GRACES,
        prefer=st.none() | st.sets(st.integers(0, N_WORKERS - 1), min_size=1),
        retries=st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()),
        plain=st.sets(st.sampled_from(["targets", "needs", "follow", "prefer"])),
    )
    def submit_special(self, picks, places, retries, follow, plain, **options):
        n = len(self.oracle.jobs)
        options["targets"] = places
        options["follow"] = [pick % n for pick in follow] if n else []
        for name in plain:
            options[name] = {"needs": {}, "follow": []}.get(name)
        if not self.n_workers:
            options.update(targets=None, prefer=None)
        options.update(zip(("retries", "lost_retries", "elsewhere"), retries, strict=True))
        self.pair.submit_special([pick % n for pick in picks] if n else [], **options)

    @precondition(lambda self: self.oracle.running_here())
    @rule(pick=PICK)
    def retry_here(self, pick):
        self.pair.retry_here(chosen(self.oracle.running_here(), pick))

    @precondition(lambda self: self.oracle.jobs)
    @rule(picks=PICKS, mode=st.integers(0, 3))
    def join(self, picks, mode):
        self.pair.join({pick % len(self.oracle.jobs) for pick in picks}, mode)

    @rule(items=st.sets(st.integers(0, 5)))
    def cache_set(self, items):
        self.pair.cache_set(sorted(items))

    @precondition(lambda self: not self.oracle.started)
    @rule()
    def start(self):
        self.pair.start()

    @precondition(lambda self: len(self.oracle.jobs) > 10)
    @rule()
    def end(self):
        self.pair.end()

    @precondition(lambda self: self.oracle.jobs)
    @rule(pick=PICK)
    def cancel(self, pick):
        self.pair.cancel(pick % len(self.oracle.jobs))

    @precondition(lambda self: self.oracle.jobs)
    @rule(pick=PICK)
    def watch(self, pick):
        self.pair.watch(pick % len(self.oracle.jobs))

    @rule()
    def take(self):
        self.pair.take()

    @precondition(lambda self: self.oracle.may_begin())
    @rule(pick=PICK)
    def begin(self, pick):
        self.pair.begin(chosen(self.oracle.may_begin(), pick))

    @precondition(lambda self: self.oracle.may_not_begin())
    @rule(pick=PICK)
    def begin_wrongly(self, pick):
        self.pair.begin_wrongly(chosen(self.oracle.may_not_begin(), pick))

    @precondition(lambda self: self.oracle.running_here())
    @rule(pick=PICK, outcome=ENDINGS)
    def finish(self, pick, outcome):
        self.pair.finish(chosen(self.oracle.running_here(), pick), outcome)

    @precondition(lambda self: self.oracle.having(*FINISHED))
    @rule(pick=PICK, outcome=ENDINGS)
    def finish_too_late(self, pick, outcome):
        self.pair.finish(chosen(self.oracle.having(*FINISHED), pick), outcome)

    @rule()
    def pop_unneeded(self):
        self.pair.pop_unneeded()


class WorkersMachine(SerialMachine):
    """Most jobs are sent to workers; others run or are ended in this process."""

    n_workers = N_WORKERS

    def busy(self):
        return [worker for worker, chain in self.oracle.chains.items() if chain]

    @rule()
    def assign(self):
        self.pair.assign()

    @precondition(lambda self: self.busy())
    @rule(pick=PICK, outcome=ENDINGS, run_ns=RUN_NS, skips=st.booleans())
    def done(self, pick, outcome, run_ns, skips):
        worker = chosen(self.busy(), pick)
        first = self.oracle.jobs[self.oracle.chains[worker][0]]
        skipped = skips and first.status in FINISHED
        self.pair.done(worker, Status.CANCELLED if skipped else outcome, run_ns)

    def retried(self):
        """The workers whose first job may be retried, or was cancelled."""
        firsts = {worker: self.oracle.jobs[self.oracle.chains[worker][0]] for worker in self.busy()}
        return [
            worker
            for worker, job in firsts.items()
            if job.status in FINISHED or job.attempts < job.options.retries
        ]

    @precondition(lambda self: self.retried())
    @rule(pick=PICK, run_ns=RUN_NS)
    def retry(self, pick, run_ns):
        self.pair.retry(chosen(self.retried(), pick), run_ns)

    @rule(ns=st.integers(1, 10**6))
    def advance(self, ns):
        self.pair.advance(ns)

    def special(self):
        return [number for number, job in enumerate(self.oracle.jobs) if job.is_special]

    @precondition(lambda self: self.special())
    @rule(pick=PICK, worker=WORKERS)
    def prefer(self, pick, worker):
        self.pair.prefer(chosen(self.special(), pick), worker)

    @precondition(lambda self: self.busy())
    @rule(pick=PICK, place=PICK, outcome=st.sampled_from([Status.FAILED, Status.CANCELLED]))
    def unsend(self, pick, place, outcome):
        worker = chosen(self.busy(), pick)
        self.pair.unsend(worker, place % len(self.oracle.chains[worker]), outcome)

    def loaded(self):
        return [worker for worker, chain in self.oracle.chains.items() if len(chain) > 1]

    @precondition(lambda self: self.loaded())
    @rule(pick=PICK, place=PICK)
    def give_back(self, pick, place):
        worker = chosen(self.loaded(), pick)
        self.pair.give_back(worker, 1 + place % (len(self.oracle.chains[worker]) - 1))

    @rule(worker=WORKERS, known=st.none() | PICK)
    def lose(self, worker, known):
        """The last job that it began is unknown, one of its jobs, or an earlier one."""
        chain = self.oracle.chains[worker]
        seen = [*chain, *chain, len(self.oracle.jobs)]
        self.pair.lose(worker, -1 if known is None else chosen(seen, known))

    @rule(worker=WORKERS, held=st.booleans())
    def hold(self, worker, held):
        self.pair.hold(worker, held or worker in self.oracle.lost)

    @precondition(lambda self: self.busy())
    @rule(pick=PICK, outcome=ENDINGS)
    def finish_a_sent_one(self, pick, outcome):
        self.pair.finish(self.oracle.chains[chosen(self.busy(), pick)][0], outcome)


SETTINGS = settings(
    max_examples=settings().max_examples * 6 // 5, stateful_step_count=50, deadline=None
)

TestSerial = SerialMachine.TestCase
TestSerial.settings = SETTINGS
TestWorkers = WorkersMachine.TestCase
TestWorkers.settings = SETTINGS
