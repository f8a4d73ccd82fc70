"""The job counts of listeners on a terminal are correct however the run ends."""

from __future__ import annotations

import re

import pytest

from bsbpool import JobPoolTimeoutError, JobStatus, WorkflowError, create_job_pool
from bsbpool.listeners.counting import CountingListener
from bsbpool.listeners.log import LogListener
from bsbpool.listeners.summary import counts_text
from bsbpool.listeners.tally import JobTally

from .support import fail, nothing


class Kept(CountingListener):
    """A display that keeps the final counts of each kind of job."""

    def __init__(self):
        super().__init__(0.001)
        self.ends = []

    def show_end(self):
        self.ends.append({kind.name: counts_text(kind) for kind in self.kinds.all()})


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
    listener = Kept()
    pool = create_job_pool(quiet=True)
    pool.add_listener(listener)
    pool.add_listener(LogListener())
    pool.add_listener(lambda record: None, max_wait=pace)
    with pytest.raises(error), pool:
        first = pool.queue(fail, submitter="all")
        pool.queue(nothing, deps=[first], submitter="all")
        pool.queue(act, submitter="all")
        pool.queue_many(nothing, [()] * 4, submitter="all")
        pool.execute(**options)
    succeeded = 5 if end == "good" else 0
    counts = f"{succeeded}/7 jobs succeeded, {unsuccessful}"
    assert listener.ends == [{"all": counts}]
    assert re.search(rf"^bsbpool: {counts} in \d\.\d s", capfd.readouterr().err, re.MULTILINE)


def test_30_each_final_status_has_its_own_count():
    tally = JobTally()
    for n, status in enumerate(JobStatus, start=1):
        for _ in range(n):
            tally.add(status)
    assert str(tally) == "4/28 jobs succeeded, 3 running, 5 failed, 6 cancelled, 7 aborted"
    assert (tally.succeeded, tally.finished, tally.total) == (4, 22, 28)


def test_30_no_count_is_lost_by_a_listener_that_fails(capfd):
    def failing(record):
        if record.status is JobStatus.SUCCESS:
            raise KeyboardInterrupt
        if record.status is JobStatus.CANCELLED:
            raise RuntimeError  # again and again, while the run ends

    listener = Kept()
    pool = create_job_pool(quiet=True)
    pool.add_listener(failing)
    pool.add_listener(listener)
    pool.add_listener(LogListener())
    with pytest.raises(KeyboardInterrupt), pool:
        pool.queue_many(nothing, [()] * 6, submitter="all")
        pool.execute()
    assert listener.ends == [{"all": "1/6 jobs succeeded, 5 cancelled"}]
    assert "bsbpool: 1/6 jobs succeeded, 5 cancelled in" in capfd.readouterr().err


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
        pool.add_listener(LogListener())
        pool.submit(lambda owner: Unreadable())
        good = pool.submit(lambda owner: "read")
        pool.submit(lambda owner: setattr(pool.run_context.time_limit, "end", 0))
        pool.submit(nothing)
        with pytest.raises(JobPoolTimeoutError, match=r"2 succeeded, 1 failed") as caught:
            pool.execute(return_results=True, timeout=60)
        assert caught.value.results[good] == "read"
        assert isinstance(caught.value.__cause__, WorkflowError)
    assert "bsbpool: 2/4 jobs succeeded, 1 failed, 1 cancelled in" in capfd.readouterr().err
