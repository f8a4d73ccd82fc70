"""What an engine promises, in the slowest and plainest way.

Nothing is counted, linked or remembered that can be looked up again: whether a
job may run is found by looking at all that it waits for, over and over.
"""

from bsbpool._core.scheduling.status import Status, terminal, transitions

FINISHED = terminal()
LEGAL = transitions()
LONG_NS = 2e6
MAX_CREDIT = 256


class Entry:
    """One job: its dependencies, its cached items and its state."""

    def __init__(self, waits_for, items):
        self.waits_for = frozenset(waits_for)
        self.items = frozenset(items)
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
        return [
            number
            for number, job in enumerate(self.jobs)
            if job.status is Status.QUEUED and number not in sent
        ]

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
        return all(self.jobs[n].status is Status.SUCCESS for n in job.waits_for)

    def is_broken(self, job):
        bad = FINISHED - {Status.SUCCESS}
        return any(self.jobs[n].status in bad for n in job.waits_for)

    # Events

    def submit(self, deps=(), join=None, items=()):
        members = () if join is None else self.joins[join]
        job = Entry({*deps, *members}, items)
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
        self.settle()

    def leave(self, worker, number, outcome):
        self.chains[worker].remove(number)
        self.finish(number, outcome)
        self.settle()

    def give_back(self, worker, number):
        self.chains[worker].remove(number)

    def begun(self, worker, last):
        """The jobs that a worker had begun up to `last`; -1 assumes that it had begun the first."""
        chain = self.chains[worker]
        if last == -1:
            return chain[:1]
        return chain[: chain.index(last) + 1] if last in chain else []

    def lose(self, worker, last):
        begun = self.begun(worker, last)
        self.held.add(worker)
        for number in self.chains[worker][len(begun) :]:
            if self.jobs[number].status is Status.RUNNING:
                self.change(number, Status.QUEUED)
        self.chains[worker] = list(begun)
        for number in begun:
            self.leave(worker, number, Status.ABORTED)

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

    def measure(self, worker, run_ns):
        """The most jobs that a worker may hold when it gets another: it doubles at most."""
        if run_ns >= 2 * LONG_NS:  # the estimate rises to at least half of a longer time
            self.limits[worker] = 1
        else:
            self.limits[worker] = min(2 * self.limits[worker], MAX_CREDIT)
