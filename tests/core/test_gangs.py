"""Jobs on several workers: which workers run them, and when."""

import random

import pytest
from gang_model import GangRun

from bsbpool._core.scheduling.engine_options import EngineOptions, JobSpec
from bsbpool._core.scheduling.status import Status, terminal
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine

ENDED = terminal()


@pytest.mark.parametrize("seed", range(300))
def test_random_loads(seed):
    """Random jobs, priorities, targets, failures, deaths, absences, steals and cancellations."""
    draw = random.Random(seed)
    n_workers = draw.randint(1, 8)
    nodes = None
    if draw.random() < 0.5:
        nodes = [draw.randrange(min(3, n_workers)) for _ in range(n_workers)]
    run = GangRun(n_workers, seed, nodes)
    seconds = draw.choice([1e-6, 1e-3, 1.0])
    for _ in range(draw.randint(5, 60)):
        event = draw.random()
        if event < 0.45:
            submit_some(run, draw, n_workers, seconds)
        elif event < 0.48 and len(run.lost) < n_workers - 1:
            alive = sorted(set(run.queues) - run.lost)
            run.lose(draw.choice(alive))
        elif event < 0.53:
            worker = draw.randrange(n_workers)
            if worker not in run.lost:
                run.set_away(worker, worker not in run.away)
        elif event < 0.60 and run.jobs:
            run.engine.cancel(draw.choice(sorted(run.jobs)))
        elif event < 0.65:
            run.steal()
        else:
            run.step()
        run.assign()
    for worker in sorted(run.away):
        run.set_away(worker, False)
    run.run()
    assert all(run.engine.status(job) in ENDED for job in run.jobs)
    assert run.engine.reserved() == []
    assert run.engine.idle


def submit_some(run, draw, n_workers, seconds):
    for _ in range(draw.randint(1, 6)):
        options = {}
        if draw.random() < 0.3:
            options["priority"] = draw.randint(-1, 1)
        if draw.random() < 0.2:
            options["targets"] = draw.sample(range(n_workers), draw.randint(1, n_workers))
        if draw.random() < 0.5:
            n_ranks = draw.randint(1, n_workers + 1)
            if draw.random() < 0.2:
                options |= {"fails": True, "retries": draw.randint(0, 2)}
            run.submit(n_ranks, seconds, same_node=draw.random() < 0.3, **options)
        else:
            run.submit(0, seconds, **options)


def engine_with(n_workers, nodes=None):
    engine = ManualEngine()
    engine.open_workers(n_workers)
    options = EngineOptions(engine)
    if nodes is not None:
        options.set_nodes(nodes)
    engine.start_run()
    return engine, options


def gang(engine, n_ranks, **options):
    return engine.submit(spec=JobSpec(engine, n_ranks=n_ranks, **options))


def test_the_members_are_distinct_and_in_order():
    engine, options = engine_with(5)
    job = gang(engine, 3)
    assert engine.assign() == [("SEND_GANG", options.members(job)[0], job)]
    assert len(set(options.members(job))) == 3
    assert engine.status(job) is Status.RUNNING
    assert [engine.running_job(worker) for worker in options.members(job)] == [job] * 3
    assert options.last_worker(job) == options.members(job)[0]


def test_the_job_ends_when_all_members_have_left():
    engine, options = engine_with(3)
    job = gang(engine, 3)
    engine.assign()
    for worker in (2, 0):
        engine.member_done(worker, job, Status.SUCCESS)
        assert engine.status(job) is Status.RUNNING
        check(engine)
    engine.member_done(1, job, Status.SUCCESS)
    assert engine.status(job) is Status.SUCCESS
    assert options.members(job) is None
    assert engine.idle


def test_a_member_gets_other_jobs_when_it_has_left():
    engine, _ = engine_with(2)
    job = gang(engine, 2)
    engine.assign()
    later = engine.submit()
    assert engine.assign() == []
    engine.member_done(1, job, Status.SUCCESS)
    assert engine.assign() == [("SEND_JOB", 1, later)]


def test_a_failure_is_the_outcome_whatever_the_others_report():
    engine, _ = engine_with(3)
    job = gang(engine, 3)
    dependent = engine.submit([job])
    engine.assign()
    engine.member_done(1, job, Status.FAILED)
    assert engine.status(job) is Status.RUNNING
    engine.member_done(0, job, Status.SUCCESS)
    engine.member_done(2, job, Status.SUCCESS)
    assert engine.status(job) is Status.FAILED
    assert engine.status(dependent) is Status.CANCELLED


def test_giving_up_ends_the_job_and_keeps_its_members_busy():
    engine, _ = engine_with(3)
    job = gang(engine, 2, retries=1)
    engine.assign()
    engine.member_done(2 if engine.running_job(2) == job else 1, job, Status.FAILED, retries=True)
    engine.give_up(job)
    assert engine.status(job) is Status.FAILED
    check(engine)
    left = [worker for worker in range(3) if engine.running_job(worker) == job]
    assert len(left) == 1
    others = [engine.submit() for _ in range(3)]
    sent = engine.assign()
    assert len(sent) == 2
    assert left[0] not in [worker for _, worker, _ in sent]
    engine.member_done(left[0], job, Status.CANCELLED)
    assert engine.status(job) is Status.FAILED
    assert engine.assign() == [("SEND_JOB", left[0], others[2])]


def test_cancelled_members_report_and_get_jobs_again():
    engine, options = engine_with(2)
    job = gang(engine, 2)
    engine.assign()
    engine.cancel(job)
    assert options.members(job) == [0, 1]
    for worker in (0, 1):
        engine.member_done(worker, job, Status.CANCELLED)
        check(engine)
    assert engine.status(job) is Status.CANCELLED
    assert engine.idle


def test_the_death_of_a_member_aborts_the_job_after_the_others_have_left():
    engine, _ = engine_with(3)
    job = gang(engine, 3)
    engine.assign()
    assert engine.begun_jobs(1, -2) == [job]
    engine.worker_failed(1, -2)  # it had begun nothing, but the others have begun
    assert engine.status(job) is Status.RUNNING
    engine.member_done(0, job, Status.FAILED)
    engine.member_done(2, job, Status.FAILED)
    assert engine.status(job) is Status.ABORTED


def test_a_lost_member_can_be_retried():
    engine, options = engine_with(3)
    job = gang(engine, 2, lost_retries=1)
    engine.assign()
    first, second = options.members(job)
    engine.worker_failed(first, job)
    engine.member_done(second, job, Status.FAILED)
    assert engine.status(job) is Status.QUEUED
    engine.assign()
    assert options.members(job) == sorted({0, 1, 2} - {first})


def test_a_size_that_became_impossible_is_refused():
    engine, options = engine_with(3)
    job = gang(engine, 3)
    engine.worker_failed(0, -2)
    assert engine.assign() == [("REFUSE_JOB", -1, job)]
    assert not options.is_possible(n_ranks=3)
    assert options.is_possible(n_ranks=2)


def test_a_reservation_holds_against_older_and_more_important_jobs():
    """What is queued later cannot delay a job for which workers are reserved."""
    engine, options = engine_with(2)
    blockers = [engine.submit(), engine.submit()]
    engine.assign()
    job = gang(engine, 2)
    assert engine.assign() == []
    assert engine.reserved() == [0, 1]
    urgent = engine.submit(spec=JobSpec(engine, priority=9))
    engine.done(0, engine.running_job(0), Status.SUCCESS, 1e9)
    assert engine.assign() == []  # worker 0 waits for worker 1
    engine.done(1, engine.running_job(1), Status.SUCCESS, 1e9)
    assert engine.assign() == [("SEND_GANG", 0, job)]
    assert options.members(job) == [0, 1]
    engine.member_done(0, job, Status.SUCCESS)
    assert engine.assign() == [("SEND_JOB", 0, urgent)]
    assert blockers == [0, 1]


def test_a_worker_that_becomes_idle_first_replaces_a_busy_one():
    engine, options = engine_with(4)
    for _ in range(4):
        engine.submit()
    engine.assign()
    job = gang(engine, 2)
    engine.assign()
    reserved = engine.reserved()
    others = sorted(set(range(4)) - set(reserved))
    for worker in others:
        engine.done(worker, engine.running_job(worker), Status.SUCCESS, 1e9)
    assert engine.assign() == [("SEND_GANG", others[0], job)]
    assert options.members(job) == others
    assert engine.reserved() == []


def test_a_second_gang_uses_workers_that_are_not_reserved():
    engine, options = engine_with(5)
    blocker = engine.submit(spec=JobSpec(engine, targets=options.add_worker_set([0])))
    engine.assign()
    large = gang(engine, 3, targets=options.add_worker_set([0, 1, 2]))
    small = gang(engine, 2)
    engine.assign()
    assert engine.reserved() == [0, 1, 2]
    assert options.members(small) == [3, 4]
    engine.done(0, blocker, Status.SUCCESS, 1e9)
    engine.assign()
    assert options.members(large) == [0, 1, 2]


def test_cancelling_the_waiting_job_releases_the_workers():
    engine, _ = engine_with(2)
    engine.submit()
    engine.assign()
    job = gang(engine, 2)
    engine.assign()
    assert engine.reserved() == [0, 1]
    engine.cancel(job)
    assert engine.reserved() == []
    check(engine)
    engine.submit()
    assert len(engine.assign()) == 1


def test_jobs_that_were_sent_ahead_to_reserved_workers_are_stolen():
    run = GangRun(2, 1)
    for _ in range(200):
        run.submit(seconds=1e-5)
    job = run.submit(1, seconds=1e-5)
    while not run.engine.reserved():
        run.assign()
        run.step()
    (reserved,) = run.engine.reserved()
    assert len(run.queues[reserved]) > 1
    assert run.engine.can_steal()
    run.steal()
    assert not run.engine.can_steal()
    assert len(run.queues[reserved]) == 1
    last = run.queues[reserved][0]
    run.assign()
    while run.queues[reserved] == [last]:
        assert run.step()
    run.assign()
    assert run.queues[reserved] == [job]
    run.run()
    assert run.engine.idle


@pytest.mark.parametrize("n_ranks", [2, 3])
def test_one_node_is_preferred(n_ranks):
    nodes = [0, 1, 0, 1, 0, 1]
    engine, options = engine_with(6, nodes)
    job = gang(engine, n_ranks, same_node=True)
    engine.assign()
    assert len({nodes[worker] for worker in options.members(job)}) == 1


def test_workers_of_one_node_are_waited_for():
    """The idle ones are on two nodes, so the job waits for those of one."""
    nodes = [0, 0, 1, 1]
    engine, options = engine_with(4, nodes)
    for worker in (0, 2):
        engine.submit(spec=JobSpec(engine, targets=options.add_worker_set([worker])))
    engine.assign()
    job = gang(engine, 2, same_node=True)
    engine.assign()
    assert engine.reserved() in ([0, 1], [2, 3])
    other = gang(engine, 2)
    engine.assign()
    assert options.members(other) is None  # of its two, one is reserved
    busy = next(worker for worker in engine.reserved() if engine.running_job(worker) is not None)
    engine.done(busy, engine.running_job(busy), Status.SUCCESS, 1e9)
    engine.assign()
    assert options.members(job) in ([0, 1], [2, 3])


def test_several_nodes_are_used_if_none_is_large_enough():
    engine, options = engine_with(4, [0, 0, 1, 1])
    job = gang(engine, 3, same_node=True)
    engine.assign()
    assert len(options.members(job)) == 3


@pytest.mark.parametrize("n_workers", [4, 16, 64])
def test_mixed_loads_keep_workers_busy(n_workers):
    """Half of the work is in jobs on 2 to 4 workers."""
    run = GangRun(n_workers, 5, checked=False)
    draw = random.Random(n_workers)
    for _ in range(40 * n_workers):
        if draw.random() < 0.25:
            run.submit(draw.choice([2, 2, 3, 4]) if n_workers > 4 else 2, draw.uniform(0.5, 1.5))
        else:
            run.submit(0, draw.uniform(0.5, 1.5))
    total = run.run()
    used = run.busy / (total * n_workers)
    print(f"{n_workers} workers are busy for {used:.1%} of the time")
    assert used > 0.9


def test_bad_specs():
    engine, options = engine_with(2)
    with pytest.raises(ValueError, match="n_ranks must not be negative"):
        JobSpec(engine, n_ranks=-1)
    with pytest.raises(ValueError, match="nodes must have 2 items, got 3"):
        options.set_nodes([0, 0, 0])
    options.set_nodes([0, 1])
    with pytest.raises(ValueError, match="set before"):
        options.set_nodes([0, 1])
    with pytest.raises(RuntimeError, match="not running"):
        engine.member_done(0, engine.submit(), Status.SUCCESS)
