"""What truly happens to each job of a pool, on all ranks, and whether main has it right."""

from bsbpool._core.comm.wakeup import BYTES
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from sim import oracle
from sim.callbacks import OK, SKIPPED
from sim.plan import MS

OUTCOMES = {0: Status.FAILED, OK: Status.SUCCESS}
FINISHED = {Status.SUCCESS, *oracle.BAD}
HEEDED_NS = 30 * MS
"""How long after it was cancelled a job that was waiting may still begin ..."""
HEEDED_LATENCIES = 200
"""... and what the word about it takes comes on top."""


class Ledger:
    """The book of one pool."""

    def __init__(self, plan, spec, engine, memory):
        self.plan = plan
        self.memory = memory  # where ranks note what they begin
        self.spec = spec
        self.engine = engine
        self.log = []
        self.begun = {}  # job: ranks, in order
        self.ended = {}
        self.order = {}  # rank: jobs it has begun
        self.replies = set()
        self.running = {}  # rank: job
        self.due = 0  # submissions that are still to come
        self.cancelled = {}  # while it was waiting: when
        self.dead = set()
        self.aborted = set()

    def note(self, what, *details):
        self.log.append((what, *details))

    # What workers do

    def begin(self, rank, job, now):
        late = now - self.cancelled.get(job, now)
        most = HEEDED_NS + HEEDED_LATENCIES * self.plan.latency
        assert late <= most, f"job {job} begins {late} ns after it was cancelled"
        before = self.begun.setdefault(job, [])
        alive = [other for other in before if other not in self.dead]
        assert not alive, f"job {job} begins on rank {rank}, but rank {alive[0]} began it"
        assert not (before and self.plan.notes), (
            f"job {job} begins again on rank {rank}, though rank {before[0]} left a note of it"
        )
        assert job not in self.aborted, f"job {job} begins on rank {rank} after it was aborted"
        assert rank not in self.running, f"rank {rank} begins job {job} inside another"
        before.append(rank)
        self.order.setdefault(rank, []).append(job)
        self.running[rank] = job

    def end(self, rank, job):
        assert self.running.pop(rank) == job
        self.ended.setdefault(job, []).append(rank)

    def died(self, rank):
        self.dead.add(rank)
        self.running.pop(rank, None)

    # What main hears

    def replied(self, job, outcome):
        if outcome == SKIPPED:
            self.note("skipped", job)
            return
        assert job in self.ended, f"a reply for job {job}, which did not come to its end"
        assert job not in self.replies, f"a second reply for job {job}"
        self.replies.add(job)
        fails = self.spec.jobs[job].fails
        assert (outcome != OK) == fails, f"job {job} ended with {outcome}, though {fails=}"
        self.note("reply", job, OUTCOMES[outcome])

    def lost(self, rank, jobs):
        """Main takes it that a rank died inside of `jobs`; see what it had truly begun."""
        assert rank in self.dead, f"rank {rank} is said to have died"
        assert not self.replies & set(jobs), f"{jobs} have ended, and are said to be lost"
        open_ones = [job for job in self.order.get(rank, ()) if job not in self.replies]
        if self.plan.notes:
            known = {job for job in jobs if not self.is_cancelled(job)}
            begun = {job for job in open_ones if not self.is_cancelled(job)}
            # It may have died between the note and the job.
            assert begun <= known <= begun | {self.noted(rank)}, (
                f"rank {rank} had begun {begun}, not {known}"
            )
        else:
            assert len(jobs) <= 1, f"nobody can know that rank {rank} had begun {jobs}"
        unbegun = [job for job in jobs if job not in open_ones and not self.is_cancelled(job)]
        cut = any(death.rank == rank and death.keep != -1 for death in self.plan.deaths)
        assert cut or len(unbegun) <= 1, f"rank {rank} had not begun {unbegun}"
        self.aborted.update(job for job in jobs if not self.is_cancelled(job))
        self.note("lost", list(jobs))

    def noted(self, rank):
        """The job that a rank noted last."""
        place = rank * BYTES + 64
        return int.from_bytes(self.memory[place : place + 4], "little") - 1

    def is_cancelled(self, job):
        return self.engine.status(job) in FINISHED

    # What must hold

    def look(self):
        """After each event: the tables hold, and who runs a job is known to run it."""
        check(self.engine)
        for rank, job in self.running.items():
            known = self.engine.begun_jobs(rank - 1, job)
            assert known and known[-1] == job, f"rank {rank} runs job {job}, not in {known}"

    def close(self, results):
        """At the end of the run: the outcome is what the oracle says."""
        check(self.engine)
        wanted = oracle.statuses(self.log)
        found = [self.engine.status(job) for job in range(len(self.engine))]
        assert None not in wanted, f"jobs that did not end: {self.stuck(wanted)}"
        wrong = [
            (job, was.name, should.name)
            for job, (was, should) in enumerate(zip(found, wanted, strict=True))
            if was is not should
        ]
        assert not wrong, f"(job, is, should be): {wrong}"
        ended = any(what == "end" for what, *_ in self.log)
        assert self.dead or ended or Status.ABORTED not in wanted
        values = oracle.values(self.spec.jobs)
        for job, status in enumerate(wanted):
            if status is Status.SUCCESS:
                assert results[job] == values[job], f"job {job} has the result of another"

    @staticmethod
    def stuck(wanted):
        return [job for job, status in enumerate(wanted) if status is None]
