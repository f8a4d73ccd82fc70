"""The job counts of listeners on a terminal are correct however the run ends."""

from __future__ import annotations

import pytest

from bsbpool import JobPoolTimeoutError, JobStatus, WorkflowError, create_job_pool
from bsbpool.listeners.tally import JobTally
from bsbpool.listeners.terminal import SummaryListener, TTYTerminalListener

from .support import fail, nothing


class Bars:
    """A replacement for the progress bars of `rich`."""

    def __init__(self):
        self.bars = {}

    def add_task(self, name, **fields):
        self.bars[name] = {}
        return name

    def update(self, name, **fields):
        self.bars[name] |= fields

    def stop(self):
        self.stopped = True


def drawing():
    """Return a listener that draws bars, and the bars."""
    listener = TTYTerminalListener(fps=1e9)
    listener._plain, listener._progress = None, Bars()
    return listener, listener._progress.bars


def interrupt(owner):
    raise KeyboardInterrupt


ENDS = {
    # How the third of seven jobs ends the run, the error, and the statuses of all jobs.
    # Serial: the first fails, the second waits for it, and the rest come after the third.
    "ctrl-c": (interrupt, {}, KeyboardInterrupt, "1 failed, 5 cancelled, 1 aborted"),
    "timeout": (nothing, {"timeout": 0}, JobPoolTimeoutError, "7 cancelled"),
    "good": (nothing, {}, WorkflowError, "1 failed, 1 cancelled"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("pace", [None, 0.01], ids=["in-this-thread", "in-a-thread-of-its-own"])
def test_30_counts_are_those_of_the_jobs(end, pace, capfd):
    act, options, error, unsuccessful = ENDS[end]
    listener, bars = drawing()
    pool = create_job_pool(quiet=True)
    pool.add_listener(listener)
    pool.add_listener(SummaryListener(), max_wait=pace)
    with pytest.raises(error), pool:
        first = pool.queue(fail, submitter="all")
        pool.queue(nothing, deps=[first], submitter="all")
        pool.queue(act, submitter="all")
        pool.queue_many(nothing, [()] * 4, submitter="all")
        pool.execute(**options)
    succeeded = 5 if end == "good" else 0
    assert bars["all"] == {"total": 7, "completed": succeeded, "note": unsuccessful}
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == f"bsbpool: {succeeded}/7 jobs succeeded, {unsuccessful}"


def test_30_each_final_status_has_its_own_count():
    tally = JobTally()
    for n, status in enumerate(JobStatus, start=1):
        for _ in range(n):
            tally.add(status)
    assert str(tally) == "4/28 jobs succeeded, 3 running, 5 failed, 6 cancelled, 7 aborted"
    assert (tally.succeeded, tally.finished, tally.total) == (4, 22, 28)


class Interrupted(TTYTerminalListener):
    """Gets Ctrl-C between a record and its count, at the first job that succeeds."""

    def _tally_of(self, job):
        if not self.hit and job.status is JobStatus.SUCCESS:
            self.hit = True
            raise KeyboardInterrupt
        return super()._tally_of(job)

    hit = False


@pytest.mark.parametrize("where", ["in-the-listener", "in-another-one"])
def test_30_no_count_is_lost_by_an_interrupt_or_by_a_listener_that_fails(where, capfd):
    def failing(record):
        if record.status is JobStatus.SUCCESS:
            raise KeyboardInterrupt
        if record.status is JobStatus.CANCELLED:
            raise RuntimeError  # again and again, while the run ends

    listener, bars = drawing()
    pool = create_job_pool(quiet=True)
    if where == "in-the-listener":
        listener.__class__ = Interrupted
    else:
        pool.add_listener(failing)
    pool.add_listener(listener)
    pool.add_listener(SummaryListener())
    with pytest.raises(KeyboardInterrupt), pool:
        pool.queue_many(nothing, [()] * 6, submitter="all")
        pool.execute()
    assert bars["all"] == {"total": 6, "completed": 1, "note": "5 cancelled"}
    assert capfd.readouterr().err.endswith("bsbpool: 1/6 jobs succeeded, 5 cancelled\n")


def test_30_a_pool_counts_its_jobs(pool):
    jobs = [pool.submit(nothing), pool.submit(fail), pool.submit(nothing)]
    jobs[2].cancel()
    assert pool.counts[JobStatus.PENDING] == 2
    with pytest.raises(WorkflowError):
        pool.execute()
    ends = {JobStatus.SUCCESS: 1, JobStatus.FAILED: 1, JobStatus.CANCELLED: 1}
    assert {status: n for status, n in pool.counts.items() if n} == ends


class Unreadable:
    """A large result that cannot be unpickled; small results are unpickled on arrival."""

    def __reduce__(self):
        return int, ("x" * 100_000,)


def test_30_unreadable_results_are_counted_after_a_timeout(capfd):
    with create_job_pool(quiet=True, max_memory=0) as pool:
        pool.add_listener(SummaryListener())
        pool.submit(lambda owner: Unreadable())
        good = pool.submit(lambda owner: "read")
        pool.submit(lambda owner: setattr(pool.run_context.time_limit, "end", 0))
        pool.submit(nothing)
        with pytest.raises(JobPoolTimeoutError, match=r"2 succeeded, 1 failed") as caught:
            pool.execute(return_results=True, timeout=60)
        assert caught.value.results[good] == "read"
        assert isinstance(caught.value.__cause__, WorkflowError)
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == "bsbpool: 2/4 jobs succeeded, 1 failed, 1 cancelled"
