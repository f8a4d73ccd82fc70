"""Single promises of an engine, one example each."""

from itertools import pairwise

import pytest
from oracle import ALL, ANY, ENDED, FAILURE
from pair import Pair

from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine


def started(n_workers=0):
    pair = Pair(n_workers)
    pair.start()
    return pair


def test_ready_jobs_are_taken_in_the_order_of_submission():
    pair = started()
    first = pair.submit()
    waits = pair.submit([first])
    later = [pair.submit() for _ in range(100)]
    assert pair.take() == first
    assert pair.take() == later[0]
    pair.finish(first, Status.SUCCESS)
    assert pair.take() == waits
    assert pair.take() == later[1]


@pytest.mark.parametrize(
    ("mode", "ends", "expected"),
    [
        (ANY, [Status.FAILED, Status.SUCCESS], [Status.PENDING, Status.QUEUED]),
        (ANY, [Status.FAILED, Status.FAILED], [Status.PENDING, Status.CANCELLED]),
        (ENDED, [Status.FAILED, Status.SUCCESS], [Status.PENDING, Status.QUEUED]),
        (FAILURE, [Status.SUCCESS, Status.FAILED], [Status.PENDING, Status.QUEUED]),
        (FAILURE, [Status.ABORTED], [Status.QUEUED]),
        (FAILURE, [Status.CANCELLED, Status.SUCCESS], [Status.PENDING, Status.CANCELLED]),
    ],
)
def test_a_join_is_settled_as_soon_as_its_mode_allows(mode, ends, expected):
    pair = started()
    members = [pair.submit() for _ in range(len(ends) + 1)][:-1]
    waits = pair.submit(joins=[pair.join(members, mode)])
    for member, end, status in zip(members, ends, expected, strict=True):
        pair.finish(pair.take(), end)
        assert pair.engine.status(member) is end
        assert pair.engine.status(waits) is status
        pair.agree()
    late = pair.submit(joins=[pair.join(members, mode)])
    assert pair.engine.status(late) is expected[-1]


def test_a_job_whose_joins_disagree_is_cancelled():
    """The end of one job meets the last open join and breaks another one, in either order."""
    for modes in ([ANY, FAILURE], [FAILURE, ANY]):
        pair = started()
        first = pair.submit()
        waits = pair.submit(joins=[pair.join([first], mode) for mode in modes])
        cleanup = pair.submit(joins=[pair.join([waits], ENDED)])
        pair.finish(pair.take(), Status.FAILED)
        assert pair.engine.status(waits) is Status.CANCELLED
        assert pair.engine.dependency_failed(waits)
        assert pair.take() == cleanup
        pair.agree()


def test_joins_of_no_jobs():
    """Nothing can succeed or fail among no jobs, so two of the modes can never be met."""
    pair = started()
    joins = [pair.join([], mode) for mode in (ALL, ANY, ENDED, FAILURE)]
    statuses = [pair.engine.status(pair.submit(joins=[join])) for join in joins]
    assert statuses == [Status.QUEUED, Status.CANCELLED, Status.QUEUED, Status.CANCELLED]
    with pytest.raises(ValueError, match="mode must be from 0 to 3"):
        pair.engine.add_join([], 4)


def test_nothing_is_ready_before_the_start():
    pair = Pair()
    pair.submit()
    assert pair.take() is None
    pair.start()
    assert pair.take() == 0


@pytest.mark.parametrize("wrong", [-1, 6, 2**31, 2**40])
def test_unknown_numbers_are_refused_and_change_nothing(wrong):
    pair = started(1)
    for _ in range(6):  # as many as there are cache items
        pair.submit()
    engine = pair.engine
    for call in (
        lambda: engine.submit([0, wrong]),
        lambda: engine.add_join([wrong]),
        lambda: engine.add_cache_set([0, wrong]),
        lambda: engine.status(wrong),
        lambda: engine.track(wrong),
        lambda: engine.start_job(wrong),
        lambda: engine.cancel(wrong),
        lambda: engine.dependency_failed(wrong),
        lambda: engine.ended_by_run(wrong),
        lambda: engine.is_sent(wrong),
        lambda: engine.finish(wrong, Status.SUCCESS),
        lambda: engine.undo_send(wrong, Status.FAILED),
        lambda: engine.done(0, wrong, Status.SUCCESS),
    ):
        with pytest.raises(IndexError, match="does not exist"):
            call()
    pair.agree()


@pytest.mark.parametrize(
    "options", [{"joins": [0]}, {"joins": [-2]}, {"cache_set": 0}, {"cache_set": -2}]
)
def test_unknown_joins_and_cache_sets_are_refused(options):
    engine = ManualEngine()
    with pytest.raises(IndexError, match="does not exist"):
        engine.submit(**options)
    assert len(engine) == 0


@pytest.mark.parametrize("wrong", [Status.PENDING, Status.RUNNING, 7, -1, 256, 34])
def test_a_job_ends_with_a_terminal_status_only(wrong):
    pair = started(1)
    pair.submit()
    pair.assign()
    for call in (
        lambda: pair.engine.finish(0, wrong),
        lambda: pair.engine.undo_send(0, wrong),
        lambda: pair.engine.done(0, 0, wrong),
    ):
        with pytest.raises(ValueError, match="outcome must be a terminal status"):
            call()
    pair.agree()


def test_statuses_are_returned_as_the_callers_objects():
    engine = ManualEngine(["waits", "queued", "runs", "fine", "failed", "cancelled", "aborted"])
    engine.track_all()
    job = engine.submit()
    engine.start_run()
    engine.start_next()
    assert engine.status(job) == engine.track(job) == "runs"
    assert engine.cancel(job) == "runs"
    assert engine.pop_changes() == [
        (job, "waits", "queued"), (job, "queued", "runs"), (job, "runs", "cancelled"),
    ]  # fmt: skip


def test_only_tracked_jobs_are_recorded():
    engine = ManualEngine()
    first, other, second = engine.submit(tracked=True), engine.submit(), engine.submit()
    assert engine.track(second) is Status.PENDING
    engine.start_run()
    assert engine.pop_changes() == [(job, Status.PENDING, Status.QUEUED) for job in (first, second)]
    assert engine.cancel(other) is Status.QUEUED
    assert engine.pop_changes() == []


def test_a_failure_reaches_the_end_of_a_long_chain():
    """Without recursion, which would overflow the stack."""
    engine = ManualEngine()
    n = 100_000
    for job in range(n):
        engine.submit([job - 1] if job else [])
    engine.start_run()
    engine.finish(engine.start_next(), Status.FAILED)
    check(engine)
    assert engine.unfinished == 0
    assert engine.counts()[Status.CANCELLED] == n - 1
    assert engine.dependency_failed(n - 1)


def test_a_join_of_ended_jobs_is_met_or_broken_at_once():
    pair = started()
    good, bad, live = pair.submit(), pair.submit(), pair.submit()
    for outcome in (Status.SUCCESS, Status.FAILED):
        pair.finish(pair.take(), outcome)
    for members in ([], [good], [good, bad], [bad, live], [live, live]):
        pair.submit(joins=[pair.join(members)])
        pair.agree()
    pair.finish(pair.take(), Status.SUCCESS)
    pair.agree()


def test_an_item_is_needed_until_its_last_job_ends_in_any_way():
    pair = started()
    pair.cache_set([0, 1])
    pair.cache_set([1, 2])
    succeeds, fails, waits = pair.submit(cache_set=0), pair.submit(cache_set=1), None
    waits = pair.submit([fails], cache_set=0)
    pair.take(), pair.take()
    for event in (
        lambda: pair.finish(succeeds, Status.SUCCESS),
        lambda: pair.finish(fails, Status.FAILED),
        lambda: pair.submit([waits], cache_set=0),
    ):
        event()
        pair.agree()
    assert pair.engine.needed_items == []
    pair.pop_unneeded()


def test_tokens_have_64_bits():
    engine = ManualEngine()
    items = [engine.add_cache_item(token) for token in (2**64 - 1, 0)]
    engine.submit(cache_set=engine.add_cache_set(items))
    assert engine.needed_items == [2**64 - 1, 0]
    for wrong in (2**64, -1):
        with pytest.raises(OverflowError):
            engine.add_cache_item(wrong)


def test_an_ended_run_accepts_no_jobs():
    pair = started(1)
    running, ahead, waiting = pair.submit(), pair.submit(), pair.submit([0])
    pair.assign()
    pair.end()
    pair.submit()
    pair.submit([running])
    pair.agree()
    assert [pair.engine.status(n) for n in (running, ahead, waiting, 3)] == [
        Status.ABORTED, Status.CANCELLED, Status.CANCELLED, Status.CANCELLED,
    ]  # fmt: skip
    pair.assign()
    pair.done(0, Status.SUCCESS)
    pair.agree()
    assert pair.engine.idle


# Workers


def runs(run_ns, n_jobs=3000):
    """Send jobs of one duration to one worker; return how many it held at the end of each."""
    pair = started(1)
    for _ in range(n_jobs):
        pair.engine.submit()
    held, load = [], []
    while True:
        held += [job for _, _, job in pair.engine.assign()]
        load.append(len(held))
        if not held:
            return load
        pair.engine.done(0, held.pop(0), Status.SUCCESS, run_ns)


def test_the_first_job_of_a_worker_is_sent_alone():
    assert all(runs(run_ns)[0] == 1 for run_ns in (1e3, 1e6, 1e9))


def test_long_jobs_are_not_sent_ahead():
    assert set(runs(30e6, 50)) == {1, 0}


@pytest.mark.parametrize(("run_ns", "most"), [(1e2, 256), (1e4, 100), (1e6, 2), (1.9e6, 2)])
def test_about_a_millisecond_of_work_is_sent_ahead(run_ns, most):
    load = runs(run_ns)
    assert 0.9 * most <= max(load) <= most
    assert all(after <= 2 * before + 1 for before, after in pairwise(load))


def test_idle_workers_get_jobs_first():
    pair = started(4)
    for _ in range(400):  # until all of them have credit for many
        pair.submit()
    while pair.oracle.ready() or pair.oracle.sent():
        pair.assign()
        for worker, chain in pair.oracle.chains.items():
            if chain:
                pair.done(worker, Status.SUCCESS)
    for n in (2, 4, 5, 7):
        for _ in range(n):
            pair.submit()
        pair.assign()
        loads = sorted(len(chain) for chain in pair.oracle.chains.values())
        assert loads[-1] - loads[0] <= 1, loads
        for worker, chain in pair.oracle.chains.items():
            while chain:
                pair.done(worker, Status.SUCCESS)


def test_one_long_job_ends_sending_ahead():
    pair = started(1)
    for _ in range(300):
        pair.submit()
    for run_ns in [1e3] * 100 + [1e9]:
        pair.assign()
        pair.done(0, Status.SUCCESS, run_ns)
    while len(pair.oracle.chains[0]) > 1:
        before = len(pair.oracle.chains[0])
        pair.assign()
        assert len(pair.oracle.chains[0]) == before
        pair.done(0, Status.SUCCESS, 1e9)


def test_skipped_jobs_do_not_change_the_estimated_run_time():
    pair = started(1)
    for _ in range(5):
        pair.submit()
    pair.assign()
    pair.cancel(0)
    pair.done(0, Status.CANCELLED, run_ns=0)
    pair.assign()
    assert pair.oracle.chains[0] == [1]


@pytest.mark.parametrize("report", [(0, 1), (1, 0), (2, 0), (-1, 0)])
def test_a_report_out_of_order_is_a_permanent_error(report):
    """The tables are not reliable afterwards, so every later call raises."""
    pair = started(2)
    for _ in range(2):
        pair.submit()
    pair.assign()
    pair.engine.submit()
    for call in (lambda: pair.engine.done(*report, Status.SUCCESS), pair.engine.start_next):
        with pytest.raises(RuntimeError, match="not running"):
            call()
    with pytest.raises(AssertionError, match="fault"):
        check(pair.engine)


def test_an_unknown_worker_runs_nothing():
    engine = ManualEngine()
    engine.open_workers(2)
    assert engine.running_job(1) is None
    for wrong in (-1, 2):
        with pytest.raises(IndexError, match="does not exist"):
            engine.running_job(wrong)


def test_workers_are_opened_once():
    engine = ManualEngine()
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="n must be at least 1"):
            engine.open_workers(wrong)
    engine.open_workers(3)
    check(engine)
    with pytest.raises(ValueError, match="already has 3 workers"):
        engine.open_workers(3)
