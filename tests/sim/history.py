"""The history of a pool's jobs on all ranks, and checks that the main rank knows it correctly."""

from collections import Counter

from bsbpool._core.comm.wakeup import BYTES
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from sim import oracle
from sim.callbacks import OK, SKIPPED
from sim.options import SimulatedOptions
from sim.plan import MS

OUTCOMES = {0: Status.FAILED, OK: Status.SUCCESS}
FINISHED = {Status.SUCCESS, *oracle.UNSUCCESSFUL}
CANCEL_NS = 30 * MS
"""A job that was cancelled while it was queued must not begin later than this ..."""
CANCEL_LATENCIES = 200
"""... plus this many latencies, for the message that cancels it."""


class History:
    """The history of one pool.

    Parameters
    ----------
    plan : Plan
        The plan of the simulation.
    pool : Pool
        The pool of the plan.
    engine : ManualEngine
        The tables of the main rank.
    memory : bytearray
        The shared memory in which ranks note the jobs that they begin.
    """

    def __init__(self, plan, pool, engine, memory):
        self.plan = plan
        self.pool = pool
        self.engine = engine
        self.memory = memory
        self.log = []  # the events that the main rank has seen, for the oracle
        self.begun = {}  # job: the ranks that have begun it, in order
        self.ended = {}  # job: the ranks that have ended it
        self.order = {}  # rank: the jobs that it has begun, in order
        self.replies = set()
        self.running = {}  # rank: job
        self.n_expected = 0  # how many jobs of the plan have not been submitted yet
        self.cancelled = {}  # job: when it was cancelled while it was queued
        self.interrupted = {}  # job: when main has interrupted it
        self.ended_early = set()  # jobs that ended because of that
        self.dead = set()
        self.aborted = set()
        self.options = SimulatedOptions(plan, pool, engine)
        self.n_begun = Counter()  # of all attempts
        self.fails = {}  # job: whether its last attempt fails

    def log_event(self, event, *details):
        self.log.append((event, *details))

    # Events on workers

    def job_begun(self, rank, job, now):
        late = now - self.cancelled.get(job, now)
        most = CANCEL_NS + CANCEL_LATENCIES * self.plan.latency
        assert late <= most, f"job {job} begins {late} ns after it was cancelled"
        self.options.check_begin(rank, job)
        self.n_begun[job] += 1
        self.fails[job] = self.n_begun[job] <= self.pool.jobs[job].fails
        before = self.begun.setdefault(job, [])
        alive = [other for other in before if other not in self.dead]
        assert not alive, f"job {job} begins on rank {rank}, but rank {alive[0]} began it"
        assert not (before and self.plan.shares_begun), (
            f"job {job} begins again on rank {rank}, though rank {before[0]} noted its begin"
        )
        assert job not in self.aborted, f"job {job} begins on rank {rank} after it was aborted"
        assert rank not in self.running, f"rank {rank} begins job {job} inside another job"
        before.append(rank)
        self.order.setdefault(rank, []).append(job)
        self.running[rank] = job

    def job_interrupted(self, job):
        assert job in self.interrupted, f"job {job} is interrupted, but nobody has asked for it"
        self.ended_early.add(job)

    def check_not_late(self, job, now):
        """Check that an interrupt was not ignored; called while a job runs."""
        late = now - self.interrupted.get(job, now)
        most = CANCEL_NS + CANCEL_LATENCIES * self.plan.latency
        assert late <= most, f"job {job} runs {late} ns after it was interrupted"

    def job_ended(self, rank, job):
        assert self.running.pop(rank) == job
        self.ended.setdefault(job, []).append(rank)

    def rank_died(self, rank):
        self.dead.add(rank)
        self.running.pop(rank, None)

    # Events on the main rank

    def reply_received(self, job, outcome):
        if outcome == SKIPPED:
            self.log_event("skipped", job)
            return False
        assert job in self.ended, f"a reply for job {job}, which has not ended"
        assert job not in self.replies, f"a second reply for job {job}"
        self.replies.add(job)
        fails = self.fails[job] or job in self.ended_early
        assert (outcome != OK) == fails, f"job {job} ended with {outcome}, though {fails=}"
        if fails and not self.is_finished(job) and self.options.tables.retries_left(job):
            self.options.n_retried[job] += 1
            self.forget_attempt(job)
            return True
        self.log_event("reply", job, OUTCOMES[outcome])
        return False

    def forget_attempt(self, job):
        """A job is about to run again."""
        self.interrupted.pop(job, None)
        self.ended_early.discard(job)
        self.begun.pop(job, None)
        self.ended.pop(job, None)
        self.replies.discard(job)
        for begun in self.order.values():
            if job in begun:
                begun.remove(job)

    def rank_lost(self, rank, jobs):
        """Compare the jobs that main takes as begun by a dead rank with those that it had begun."""
        assert rank in self.dead, f"rank {rank} is reported as dead, but is alive"
        assert not self.replies & set(jobs), f"{jobs} have ended, but are reported as lost"
        unanswered = [job for job in self.order.get(rank, ()) if job not in self.replies]
        if self.plan.shares_begun:
            known = {job for job in jobs if not self.is_finished(job)}
            begun = {job for job in unanswered if not self.is_finished(job)}
            # The rank may have died after it noted the job and before it began it.
            assert begun <= known <= begun | {self.noted_job(rank)}, (
                f"rank {rank} had begun {begun}, not {known}"
            )
        else:
            assert len(jobs) <= 1, f"main cannot know that rank {rank} had begun {jobs}"
        unbegun = [job for job in jobs if job not in unanswered and not self.is_finished(job)]
        loses_messages = any(
            death.rank == rank and death.n_delivered != -1 for death in self.plan.deaths
        )
        assert loses_messages or len(unbegun) <= 1, f"rank {rank} had not begun {unbegun}"
        lost = []
        for job in jobs:
            if not self.is_finished(job) and self.options.tables.retries_left(job, lost=True):
                self.options.n_rerun[job] += 1
                self.forget_attempt(job)
            else:
                lost.append(job)
        self.aborted.update(job for job in lost if not self.is_finished(job))
        self.log_event("lost", lost)

    def noted_job(self, rank):
        """Return the job that a rank has noted in the shared memory."""
        place = rank * BYTES + 64
        return int.from_bytes(self.memory[place : place + 4], "little") - 1

    def is_finished(self, job):
        return self.engine.status(job) in FINISHED

    # Checks

    def check(self):
        """Check the tables, and that main knows which jobs run. Called after each change."""
        check(self.engine)
        self.options.check_running(self.running)
        for rank, job in self.running.items():
            known = self.engine.begun_jobs(rank - 1, job)
            assert known and known[-1] == job, f"rank {rank} runs job {job}, not in {known}"

    def check_outcome(self, results):
        """Compare the statuses and results with those of the oracle, at the end of the run."""
        check(self.engine)
        self.options.check_retries()
        expected = oracle.statuses(self.log)
        found = [self.engine.status(job) for job in range(len(self.engine))]
        unfinished = [job for job, status in enumerate(expected) if status is None]
        assert not unfinished, f"jobs that have not ended: {unfinished}"
        wrong = [
            (job, actual.name, right.name)
            for job, (actual, right) in enumerate(zip(found, expected, strict=True))
            if actual is not right
        ]
        assert not wrong, f"(job, status, expected status): {wrong}"
        ended_early = any(event == "end" for event, *_ in self.log)
        assert self.dead or ended_early or Status.ABORTED not in expected
        values = oracle.values(self.pool.jobs)
        for job, status in enumerate(expected):
            if status is Status.SUCCESS:
                assert results[job] == values[job], f"job {job} has a wrong result"
