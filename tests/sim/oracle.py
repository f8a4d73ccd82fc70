"""What must have come of a run's jobs, in the slowest and plainest way.

The oracle hears what main heard and in which order: what was submitted and cancelled, what
came of jobs, and who died inside of which. What follows it finds by looking at everything.
"""

from zlib import crc32

from bsbpool._core.scheduling.status import Status

BAD = {Status.FAILED, Status.CANCELLED, Status.ABORTED}


def statuses(log):
    """Return the final statuses; None is a job that has not come to its end."""
    jobs = Jobs()
    for what, *details in log:
        getattr(jobs, what)(*details)
    return jobs.statuses


class Jobs:
    def __init__(self):
        self.statuses = []
        self.deps = []
        self.ended = False

    def submit(self, deps):
        self.statuses.append(Status.CANCELLED if self.ended else None)
        self.deps.append(deps)
        self.settle()

    def cancel(self, job):
        self.end_one(job, Status.CANCELLED)

    def reply(self, job, outcome):
        self.end_one(job, outcome)

    def skipped(self, job):
        """A worker has not run what was cancelled."""
        assert self.statuses[job] in BAD, f"job {job} was skipped, and nobody had cancelled it"

    def lost(self, jobs):
        for job in jobs:
            self.end_one(job, Status.ABORTED)

    def end(self, running):
        self.ended = True
        for job, status in enumerate(self.statuses):
            if status is None:
                self.statuses[job] = Status.ABORTED if job in running else Status.CANCELLED

    def end_one(self, job, status):
        if self.statuses[job] is None:
            self.statuses[job] = status
            self.settle()

    def settle(self):
        again = True
        while again:
            again = False
            for job, status in enumerate(self.statuses):
                if status is None and any(self.statuses[dep] in BAD for dep in self.deps[job]):
                    self.statuses[job] = Status.CANCELLED
                    again = True


# ------------------------------------------------------------------ values


def arguments(number, job, values):
    """Return what a job is called with: its number and its dependencies' results."""
    return (number, *(values[dep] for dep in job.deps))


def value_of(args, filling=b""):
    """Return what a job's function returns."""
    return crc32(filling, crc32(repr(args).encode()))


def filling(number, size):
    """Return bytes that only one job has."""
    return bytes([number & 255]) * size


def values(jobs):
    """Return the result of each job, should it and all before it succeed."""
    found = []
    for number, job in enumerate(jobs):
        args = arguments(number, job, found)
        found.append(value_of(args, filling(number, job.size)))
    return found
