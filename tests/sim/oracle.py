"""The expected outcome of a run, computed in a slow and simple way.

The input is the log of the events that the main rank has seen, in order: submissions,
cancellations, replies, and the jobs that dead ranks had begun. After each event the oracle looks at
all jobs.
"""

from zlib import crc32

from bsbpool._core.scheduling.status import Status
from sim.plan import LARGE

ALL, ANY, ENDED, FAILURE = range(4)
"""The modes of joins."""
UNSUCCESSFUL = {Status.FAILED, Status.CANCELLED, Status.ABORTED}


def statuses(log):
    """Return the final statuses; None for a job that has not ended."""
    jobs = Jobs()
    for event, *details in log:
        getattr(jobs, event)(*details)
    return jobs.statuses


class Jobs:
    """The statuses of jobs, with one method for each kind of event."""

    def __init__(self):
        self.statuses = []
        self.deps = []
        self.ended = False

    def submit(self, deps, mode):
        self.statuses.append(Status.CANCELLED if self.ended else None)
        self.deps.append((mode, deps))
        self.cancel_dependents()

    def cancel(self, job):
        self.end_one(job, Status.CANCELLED)

    def reply(self, job, outcome):
        self.end_one(job, outcome)

    def skipped(self, job):
        """Check that a job which a worker has skipped was cancelled."""
        assert self.statuses[job] in UNSUCCESSFUL, f"job {job} was skipped, but not cancelled"

    def lost(self, jobs):
        for job in jobs:
            self.end_one(job, Status.ABORTED)

    def end(self, running):
        """End the run early, while the jobs `running` run."""
        self.ended = True
        for job, status in enumerate(self.statuses):
            if status is None:
                self.statuses[job] = Status.ABORTED if job in running else Status.CANCELLED

    def end_one(self, job, status):
        if self.statuses[job] is None:
            self.statuses[job] = status
            self.cancel_dependents()

    def cancel_dependents(self):
        """Cancel all jobs that cannot run because of the ends of their dependencies."""
        again = True
        while again:
            again = False
            for job, status in enumerate(self.statuses):
                if status is None and self.condition(job) is False:
                    self.statuses[job] = Status.CANCELLED
                    again = True

    def condition(self, job):
        """Whether the dependencies of a job let it run; None if that is open."""
        mode, deps = self.deps[job]
        ends = [self.statuses[dep] for dep in deps]
        if mode == ALL and UNSUCCESSFUL & set(ends):
            return False
        wanted = {ANY: {Status.SUCCESS}, FAILURE: {Status.FAILED, Status.ABORTED}}
        if wanted.get(mode, set()) & set(ends):
            return True
        return None if None in ends else mode not in wanted


# ------------------------------------------------------------------ values


def arguments(number, job, values):
    """Return the arguments of a job: its number and the results that it can count on."""
    return (number, *(values[dep] for dep in job.deps if job.mode <= ALL))


def value_of(args, filling=b""):
    """Return the result of a job."""
    return crc32(filling, crc32(repr(args).encode()))


def filling(number, size):
    """Return bytes that differ from those of other jobs."""
    return bytes([number & 255]) * size


def values(jobs):
    """Return the result that each job has if it and its dependencies succeed."""
    found = []
    for number, job in enumerate(jobs):
        args = arguments(number, job, found)
        found.append(value_of(args, filling(number, job.size)))
    return found


def data_of(job, jobs):
    """Return the dependencies whose results a job gets as data."""
    if not job.takes or job.mode > ALL:
        return ()
    return tuple(dep for dep in job.deps if jobs[dep].result_size >= LARGE)
