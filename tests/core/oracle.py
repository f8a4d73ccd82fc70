"""What an engine promises, in the slowest and plainest way.

Nothing is counted, linked or remembered that can be looked up again: whether a
job may run is found by looking at all that it waits for, over and over.
"""

from bsbpool._core.scheduling.status import Status, terminal, transitions

FINISHED = terminal()
LEGAL = transitions()
ALL, ANY, ENDED, FAILURE = range(4)  # the modes of joins
LONG_NS = 2e6
MAX_CREDIT = 256


class Options:
    """The options of a job."""

    def __init__(
        self, priority=0, targets=None, needs=(), follow=(), strict=True, grace=0, prefer=None,
        retries=0, lost_retries=0, elsewhere=False,
    ):  # fmt: skip
        self.priority = priority
        self.targets = targets  # a set of workers; None for all
        self.needs = dict(needs)  # kind: units
        self.follow = follow
        self.strict = strict
        self.grace = grace
        self.prefer = prefer  # a set of workers
        self.retries = retries
        self.lost_retries = lost_retries
        self.elsewhere = elsewhere


class Entry:
    """One job: its dependencies, its cached items, its options and its state."""

    def __init__(self, conditions, items, options=None):
        self.conditions = conditions  # pairs of a mode and jobs; all must be met
        self.items = frozenset(items)
        self.options = options or Options()
        self.is_special = options is not None
        self.ran_on = None  # the worker to which it was sent last
        self.alone = False
        self.wait_followed = None  # the workers that it follows, since it began to wait
        self.excluded = None
        self.attempts = self.losses = 0
        self.deadline = None
        self.status = Status.PENDING
        self.tracked = self.broken = self.cut_off = False


class Oracle:
    def __init__(self):
        self.jobs = []
        self.joins = []
        self.sets = []
        self.chains = {}
        self.limits = {}
        self.held = set()  # workers that get no jobs
        self.lost = set()
        self.stocks = {}  # kind and workers: units
        self.now = 0
        self.started = self.ended = self.watches_all = False
        self.changes = []
        self.take_backs = []
        self.dropped = set()
        self.was_needed = set()

    # The present state

    def needed(self):
        """Tokens of the items that an unfinished job needs."""
        return {t for job in self.jobs if job.status not in FINISHED for t in job.items}

    def sent(self):
        return {job for chain in self.chains.values() for job in chain}

    def ready(self):
        """Jobs that may be taken, in the order in which the engine takes them."""
        sent = self.sent()
        found = [n for n in self.having(Status.QUEUED) if n not in sent]
        return sorted(found, key=lambda n: (-self.jobs[n].options.priority, n))

    def running_here(self):
        return [n for n in self.having(Status.RUNNING) if n not in self.sent()]

    def having(self, *statuses):
        return [number for number, job in enumerate(self.jobs) if job.status in statuses]

    def may_begin(self):
        """Jobs that wait for nothing, whatever the state of the run."""
        return self.ready() + [
            number for number in self.having(Status.PENDING) if self.is_met(self.jobs[number])
        ]

    def may_not_begin(self):
        return sorted(set(range(len(self.jobs))) - set(self.may_begin()))

    def is_met(self, job):
        return all(self.condition(*condition) is True for condition in job.conditions)

    def is_broken(self, job):
        return any(self.condition(*condition) is False for condition in job.conditions)

    def condition(self, mode, jobs):
        """Whether a condition is met; None if that is open."""
        ends = [self.jobs[n].status for n in jobs]
        is_open = any(end not in FINISHED for end in ends)
        if mode == ALL and any(end in FINISHED - {Status.SUCCESS} for end in ends):
            return False
        if mode == ANY and Status.SUCCESS in ends:
            return True
        if mode == FAILURE and {Status.FAILED, Status.ABORTED} & set(ends):
            return True
        return None if is_open else mode in (ALL, ENDED)

    # Events

    def submit(self, deps=(), joins=(), items=(), options=None):
        job = Entry([(ALL, deps), *(self.joins[join] for join in joins)], items, options)
        self.jobs.append(job)
        broken = self.is_broken(job)
        if self.ended and not broken:
            job.cut_off = True
            self.change(len(self.jobs) - 1, Status.CANCELLED)
        self.settle()
        return len(self.jobs) - 1

    def start(self):
        self.started = True
        self.settle()

    def end(self):
        self.ended = True
        for number, job in enumerate(self.jobs):
            if job.status not in FINISHED:
                job.cut_off = True
                running = job.status is Status.RUNNING
                self.change(number, Status.ABORTED if running else Status.CANCELLED)
        self.settle()

    def begin(self, number):
        if self.jobs[number].status is Status.PENDING:
            self.change(number, Status.QUEUED)
        self.change(number, Status.RUNNING)

    def finish(self, number, outcome):
        """End a job; False when it has ended already."""
        if self.jobs[number].status in FINISHED:
            return False
        self.change(number, outcome)
        self.settle()
        return True

    def cancel(self, number):
        before = self.jobs[number].status
        if before is Status.QUEUED:
            self.take_backs += [
                (worker, number) for worker, chain in self.chains.items() if number in chain
            ]
        self.finish(number, Status.CANCELLED)
        return before

    def place(self, worker, number):
        self.chains[worker].append(number)
        self.jobs[number].ran_on = worker
        self.settle()

    def leave(self, worker, number, outcome):
        self.chains[worker].remove(number)
        self.finish(number, outcome)
        self.settle()

    def retry(self, worker, number):
        """The first job of a worker has failed, and runs again unless it was cancelled."""
        job = self.jobs[number]
        self.chains[worker].remove(number)
        if job.status not in FINISHED:
            job.attempts += 1
            job.alone = True
            if job.options.elsewhere:
                job.excluded = worker
            self.change(number, Status.QUEUED)
        self.settle()

    def retry_here(self, number):
        """A job that failed in this process runs again; False if it may not."""
        job = self.jobs[number]
        spent = job.attempts >= job.options.retries
        if spent or job.status is not Status.RUNNING or not self.started:
            return False
        job.attempts += 1
        job.alone = True
        if job.options.elsewhere:
            job.excluded = None
        self.change(number, Status.QUEUED)
        return True

    def give_back(self, worker, number):
        self.chains[worker].remove(number)
        options = self.jobs[number].options
        bound = options.targets is not None or options.needs or options.follow or options.prefer
        if bound or self.jobs[number].excluded is not None:
            self.jobs[number].alone = True
        self.begin_wait(number)

    def begun(self, worker, last):
        """The jobs that a worker had begun up to `last`; -1 assumes that it had begun the first."""
        chain = self.chains[worker]
        if last == -1:
            return chain[:1]
        return chain[: chain.index(last) + 1] if last in chain else []

    def lose(self, worker, last):
        begun = self.begun(worker, last)
        self.held.add(worker)
        self.lost.add(worker)
        for number in self.chains[worker][len(begun) :]:
            if self.jobs[number].status is Status.RUNNING:
                self.change(number, Status.QUEUED)
            self.begin_wait(number)
        self.chains[worker] = list(begun)
        for number in begun:
            job = self.jobs[number]
            if job.losses < job.options.lost_retries and job.status not in FINISHED:
                job.losses += 1
                self.chains[worker].remove(number)
                if job.status is Status.RUNNING:
                    self.change(number, Status.QUEUED)
                self.begin_wait(number)
                self.settle()
            else:
                self.leave(worker, number, Status.ABORTED)

    # Where jobs may run

    def followed(self, number):
        """The workers where the followed jobs were; None if these were nowhere."""
        ran = {self.jobs[n].ran_on for n in self.jobs[number].options.follow} - {None}
        return ran or None

    def allowed(self, number):
        """The workers that may ever run a job."""
        job = self.jobs[number]
        found = set(self.chains) - self.lost
        if job.options.targets is not None:
            found &= job.options.targets
        if job.options.strict and job.wait_followed is not None:
            found &= job.wait_followed
        found = {w for w in found if self.has(w, job.options.needs, free=False)}
        return found - {job.excluded} or found

    def preferred(self, number):
        """The workers that a job had better run on."""
        job = self.jobs[number]
        if job.options.follow and not job.options.strict and job.wait_followed is not None:
            return job.wait_followed
        return job.options.prefer or set()

    def has(self, worker, needs, free=True):
        """Whether a worker has the units of some kinds, free or in all."""
        left = self.free() if free else self.stocks
        return all(
            any(worker in workers and left[kind, workers] >= units
                for kind, workers in left if kind == needed)
            for needed, units in needs.items()
        )  # fmt: skip

    def free(self):
        """The units of all stocks that no job in the queue of a worker needs."""
        left = dict(self.stocks)
        for worker, chain in self.chains.items():
            for number in chain:
                for needed, units in self.jobs[number].options.needs.items():
                    [stock] = [(k, w) for k, w in left if k == needed and worker in w]
                    left[stock] -= units
        return left

    def settle(self):
        """Apply all consequences until nothing changes."""
        again = True
        while again:
            again = False
            for number, job in enumerate(self.jobs):
                if job.status is not Status.PENDING:
                    continue
                if self.is_broken(job):
                    job.broken = again = True
                    self.change(number, Status.CANCELLED)
                elif self.started and self.is_met(job):
                    again = True
                    self.change(number, Status.QUEUED)
        for chain in self.chains.values():
            if chain and self.jobs[chain[0]].status is Status.QUEUED:
                self.change(chain[0], Status.RUNNING)
        needed = self.needed()
        self.dropped = (self.dropped | self.was_needed) - needed
        self.was_needed = needed

    def change(self, number, new):
        job = self.jobs[number]
        assert new in LEGAL[job.status], (number, job.status, new)
        if job.tracked or self.watches_all:
            self.changes.append((number, job.status, new))
        job.status = new
        if new is Status.QUEUED:
            self.begin_wait(number)

    def begin_wait(self, number):
        job = self.jobs[number]
        job.wait_followed = self.followed(number)
        if job.deadline is None:
            job.deadline = self.now + job.options.grace

    def measure(self, worker, run_ns):
        """The most jobs that a worker may hold when it gets another: it doubles at most."""
        if run_ns >= 2 * LONG_NS:  # the estimate rises to at least half of a longer time
            self.limits[worker] = 1
        else:
            self.limits[worker] = min(2 * self.limits[worker], MAX_CREDIT)
