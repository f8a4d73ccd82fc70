"""A run with jobs on several workers on a virtual clock, which checks each decision of the engine.

Nothing here decides where a job goes. The queues of the workers are kept as plain lists, and what
the engine does is compared with all that it has promised.
"""

import heapq
import random

from bsbpool._core.scheduling.engine_options import EngineOptions, JobSpec
from bsbpool._core.scheduling.status import Status, terminal
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine

ENDED = terminal()


class Planned:
    """A job of the plan: how many workers it needs, and how long each of them takes."""

    def __init__(self, number, n_ranks, seconds, priority=0, targets=None, fails=False, retries=0):
        self.number = number
        self.n_ranks = n_ranks  # 0 for a plain job
        self.seconds = seconds
        self.priority = priority
        self.targets = targets
        self.fails = fails  # on one of its workers, in each attempt
        self.retries = retries
        self.holds = None  # the workers that are reserved for it wait for these jobs
        self.starts = 0


class GangRun:
    """Runs a plan.

    Parameters
    ----------
    n_workers : int
        The workers.
    seed : int
        All that is random follows from it.
    nodes : list of int, optional
        The node of each worker.
    checked : bool, optional
        Whether to recount all tables after each event.
    """

    def __init__(self, n_workers, seed, nodes=None, checked=True):
        self.random = random.Random(seed)
        self.engine = ManualEngine()
        self.engine.open_workers(n_workers)
        self.options = EngineOptions(self.engine)
        self.nodes = nodes
        if nodes is not None:
            self.options.set_nodes(nodes)
        self.queues = {worker: [] for worker in range(n_workers)}
        self.gangs = {}  # the running jobs on several workers: their workers
        self.lost = set()
        self.away = set()
        self.jobs = {}
        self.ends = []  # heap of (time, order, worker, job): the ends of what runs
        self.order = 0
        self.now = 0.0
        self.busy = 0.0
        self.checked = checked
        self.reserving = None
        self.engine.start_run()

    # Making jobs

    def submit(self, n_ranks=0, seconds=1.0, same_node=False, **options):
        retries, targets = options.get("retries", 0), options.get("targets")
        spec = None
        if n_ranks or options:
            spec = JobSpec(
                self.engine,
                n_ranks=n_ranks,
                same_node=same_node,
                priority=options.get("priority", 0),
                targets=-1 if targets is None else self.options.add_worker_set(targets),
                retries=retries,
                lost_retries=retries,
            )
        number = self.engine.submit(spec=spec)
        self.jobs[number] = Planned(number, n_ranks, seconds, **options)
        return number

    # Rounds

    def assign(self):
        """Let the engine assign jobs, and check what it does."""
        got = set()
        kept = set(self.engine.reserved())
        for kind, worker, job in self.engine.assign():
            if kind == "SEND_GANG":
                self.start_gang(job)
            elif kind == "SEND_JOB":
                assert worker not in self.lost | self.away
                assert not self.in_gang(worker), f"job {job} behind a job on several workers"
                got.add(worker)
                self.queues[worker].append(job)
                if len(self.queues[worker]) == 1:
                    self.begin(worker)
            elif kind == "REFUSE_JOB":
                assert len(self.allowed(job)) < max(self.jobs[job].n_ranks, 1)
                self.engine.finish(job, Status.FAILED)
        before = self.reserving
        self.check_reservation()
        if self.reserving is not None and self.reserving == before:
            assert not got & kept & set(self.engine.reserved()), "a reserved worker got a job"
        if self.checked:
            check(self.engine)

    def start_gang(self, job):
        planned = self.jobs[job]
        members = self.options.members(job)
        assert len(set(members)) == len(members) == planned.n_ranks
        assert members == sorted(members)
        assert set(members) <= self.allowed(job) - self.away
        for worker in members:
            assert self.queues[worker] == [], f"worker {worker} has other jobs"
        planned.starts += 1
        planned.holds = None
        if self.reserving == job:
            self.reserving = None
        self.gangs[job] = set(members)
        failing = self.random.choice(members) if planned.fails else None
        for worker in members:
            self.queues[worker].append(job)
            self.begin(worker, failing == worker)

    def check_reservation(self):
        """Check that the first job on several workers that must wait starts within its bound."""
        reserved = set(self.engine.reserved())
        before, self.reserving = self.reserving, self.engine.reserved_for()
        gangs = [job for job in self.waiting() if self.jobs[job].n_ranks]
        if self.reserving is None:
            first = self.first_waiting()
            if first is not None and self.jobs[first].n_ranks:
                assert not self.can_start_now(first), f"nothing is reserved for job {first}"
            return
        job = self.jobs[self.reserving]
        if before != self.reserving:
            # Those before it have too few workers that can get jobs now.
            assert job.number == next(job for job in gangs if self.can_start_now(job))
            job.holds = None
        if job.holds is None:
            job.holds = {number for queue in self.queues.values() for number in queue}
        assert len(reserved) == job.n_ranks
        assert reserved <= self.allowed(job.number) - self.away
        still = {number for worker in reserved for number in self.queues[worker]}
        assert still <= job.holds, f"job {job.number} waits for later jobs {still - job.holds}"
        assert still, f"job {job.number} does not start"

    def waiting(self):
        sent = {job for queue in self.queues.values() for job in queue}
        found = [
            job for job in self.jobs
            if self.engine.status(job) is Status.QUEUED and job not in sent
        ]  # fmt: skip
        return sorted(found, key=lambda job: (-self.jobs[job].priority, job))

    def first_waiting(self):
        found = self.waiting()
        return found[0] if found else None

    def allowed(self, job):
        targets = self.jobs[job].targets
        return set(self.queues if targets is None else targets) - self.lost

    def can_start_now(self, job):
        """Whether enough workers can get jobs, so that some are reserved."""
        return len(self.allowed(job) - self.away) >= self.jobs[job].n_ranks

    def in_gang(self, worker):
        queue = self.queues[worker]
        return bool(queue) and queue[0] in self.gangs

    # Time

    def begin(self, worker, fails=False):
        job = self.jobs[self.queues[worker][0]]
        self.order += 1
        end = self.now + job.seconds * self.random.uniform(0.9, 1.1)
        heapq.heappush(self.ends, (end, self.order, worker, job.number, fails))
        self.busy += end - self.now

    def step(self):
        """Let the next job end; return False when nothing runs."""
        while self.ends:
            self.now, _, worker, job, fails = heapq.heappop(self.ends)
            if worker not in self.lost:
                self.end(worker, job, fails)
                return True
        return False

    def end(self, worker, job, fails):
        self.queues[worker].remove(job)
        if job in self.gangs:
            outcome = Status.FAILED if fails else Status.SUCCESS
            self.engine.member_done(worker, job, outcome, fails and self.may_retry(job))
            self.gangs[job].discard(worker)
            if not self.gangs[job]:
                del self.gangs[job]
                assert self.engine.status(job) in ENDED | {Status.QUEUED}
        else:
            self.engine.done(worker, job, Status.SUCCESS, self.jobs[job].seconds * 1e9)
            if self.queues[worker]:
                self.begin(worker)

    def may_retry(self, job):
        return self.options.retries_left(job) > 0

    def lose(self, worker):
        """A worker dies."""
        self.begin_bound_anew(worker)
        self.lost.add(worker)
        self.away.discard(worker)
        queue, self.queues[worker] = self.queues[worker], []
        if queue and queue[0] in self.gangs:
            self.gangs[queue[0]].discard(worker)
            if not self.gangs[queue[0]]:
                del self.gangs[queue[0]]
        self.engine.worker_failed(worker, queue[0] if queue else -2)

    def set_away(self, worker, away):
        self.begin_bound_anew(worker)
        (self.away.add if away else self.away.discard)(worker)
        self.engine.set_available(worker, not away)

    def begin_bound_anew(self, worker):
        """The bound does not hold if a reserved worker cannot get jobs any more."""
        if worker in self.engine.reserved():
            self.jobs[self.reserving].holds = None

    def steal(self):
        """Let workers give back what they have not begun, if the engine wants that."""
        if not self.engine.can_steal():
            return
        for worker, queue in self.queues.items():
            while len(queue) > 1:
                self.engine.give_back(worker, queue.pop())

    def run(self):
        """Run until nothing is left; return the time that this took."""
        self.assign()
        while self.step():
            self.assign()
        return self.now
