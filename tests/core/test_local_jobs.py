"""Jobs without options run where their large inputs are, if that keeps no worker idle."""

import pytest

from bsbpool._core.scheduling.engine_options import JobSpec
from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine

LONG_NS = 5e6
"""A run time after which a worker gets one job at a time."""
MAX_OVERTAKING = 32


class Run:
    """A run in which each job ends with a large result, which its worker keeps."""

    def __init__(self, n_workers):
        self.engine = ManualEngine()
        self.engine.open_workers(n_workers)
        self.engine.start_run()
        self.items = {}

    def submit(self, *inputs, **options):
        for job in inputs:
            if job not in self.items:
                self.items[job] = self.engine.add_data_item(job)
        chosen = self.engine.add_cache_set([self.items[job] for job in inputs]) if inputs else -1
        return self.engine.submit(deps=inputs, cache_set=chosen, **options)

    def submit_many(self, n, *inputs):
        return [self.submit(*inputs) for _ in range(n)]

    def assign(self):
        """Return the workers of the jobs that are sent now."""
        actions = self.engine.assign()
        check(self.engine)
        return {job: worker for kind, worker, job in actions if kind == "SEND_JOB"}

    def done(self, worker, run_ns=LONG_NS):
        job = self.engine.running_job(worker)
        if job in self.items:
            self.engine.note_kept(job)
        self.engine.done(worker, job, Status.SUCCESS, run_ns)
        check(self.engine)
        return job


def on_each(n_workers):
    """Return a run, and for each worker a job that it runs and whose result will be needed."""
    run = Run(n_workers)
    jobs = run.submit_many(n_workers)
    assert run.assign() == {job: job for job in jobs}
    return run, jobs


def test_a_job_runs_where_its_input_is():
    for worker in range(3):
        run, made = on_each(3)
        needs = run.submit(made[worker])
        for each in range(3):
            run.done(each)
        assert run.assign() == {needs: worker}


def test_a_job_runs_where_most_of_its_inputs_are():
    run, made = on_each(3)
    [more] = run.submit_many(1)
    run.items.update({job: run.engine.add_data_item(job) for job in (*made, more)})
    run.done(2)
    assert run.assign() == {more: 2}
    for worker in range(3):
        run.done(worker)
    needs = run.submit(made[0], made[1], made[2], more)
    assert run.assign() == {needs: 2}


def test_of_equally_many_inputs_the_worker_with_fewer_jobs_decides():
    run, made = on_each(2)
    needs = run.submit(*made)
    later = run.submit()
    run.done(0)
    assert run.assign() == {later: 0}
    run.done(1)
    assert run.assign() == {needs: 1}


def test_another_worker_gets_it_if_that_one_is_busy():
    run, made = on_each(2)
    run.items[made[0]] = run.engine.add_data_item(made[0])
    later = run.submit()
    run.done(0)
    assert run.assign() == {later: 0}
    needs = run.submit(made[0])
    assert run.assign() == {}
    run.done(1)
    assert run.assign() == {needs: 1}


def test_a_worker_looks_for_its_data_before_it_takes_older_jobs():
    run, made = on_each(2)
    run.items[made[0]] = run.engine.add_data_item(made[0])
    others = run.submit_many(3)
    run.done(0)
    assert run.assign() == {others[0]: 0}
    needs = run.submit_many(2, made[0])
    run.done(1)
    assert run.assign() == {others[1]: 1}
    run.done(0)
    assert run.assign() == {needs[0]: 0}
    run.done(0)
    assert run.assign() == {needs[1]: 0}
    run.done(0)
    assert run.assign() == {others[2]: 0}


def test_one_result_for_many_jobs_keeps_no_worker_idle():
    run, made = on_each(3)
    needs = run.submit_many(9, made[0])
    for worker in range(3):
        run.done(worker)
    assert set(run.assign().values()) == {0, 1, 2}
    assert run.engine.ready == len(needs) - 3


def test_older_jobs_do_not_wait_forever():
    run = Run(1)
    last = run.submit()
    run.items[last] = run.engine.add_data_item(last)
    assert run.assign() == {last: 0}
    older = run.submit()
    order = []
    for _ in range(100):
        last = run.submit(last)
        run.items[last] = run.engine.add_data_item(last)
        run.done(0)
        order += run.assign()
        if order[-1] == older:
            break
    assert len(order) == MAX_OVERTAKING + 1


def test_a_job_that_was_given_back_does_not_return():
    run, made = on_each(2)
    first, second = run.submit_many(2, made[0])
    run.done(0, run_ns=1000)
    assert run.assign() == {first: 0, second: 0}
    run.done(1)
    run.engine.give_back(0, second)
    assert run.assign() == {second: 1}


def test_a_lost_worker_gets_no_jobs():
    run, made = on_each(2)
    needs = run.submit_many(2, made[0])
    later = run.submit()
    run.done(0)
    assert run.assign() == {needs[0]: 0}
    run.engine.worker_failed(0, -2)
    run.done(1)
    assert run.assign() == {needs[0]: 1}
    for job in (needs[1], later):
        run.done(1)
        assert run.assign() == {job: 1}
    run.items[needs[0]] = run.engine.add_data_item(needs[0])
    assert run.submit(made[0]) not in run.assign()


def test_cancelled_jobs_are_passed_over():
    run, made = on_each(1)
    first, second, third = run.submit_many(3, made[0])
    run.done(0)
    assert run.assign() == {first: 0}
    run.engine.cancel(second)
    run.done(0)
    assert run.assign() == {third: 0}


def test_priorities_come_before_places():
    run, made = on_each(1)
    needs = run.submit(made[0])
    spec = JobSpec(run.engine, priority=1)
    urgent = run.submit(spec=spec)
    run.done(0)
    assert run.assign() == {urgent: 0}
    run.done(0)
    assert run.assign() == {needs: 0}


@pytest.mark.parametrize("prefetch", [True, False])
def test_a_tree_of_sums_moves_few_results(prefetch):
    """Without regard to places, two thirds of the inputs would move between three workers."""
    run = Run(3)
    run.engine.disable_prefetch(not prefetch)
    level = run.submit_many(256)
    inputs = {}
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2], strict=True))
        level = [run.submit(*pair) for pair in pairs]
        inputs.update(zip(level, pairs, strict=True))
    sent, moved, turn = {}, 0, 0
    while run.engine.unfinished:
        for job, worker in run.assign().items():
            sent[job] = worker
            moved += sum(sent[other] != worker for other in inputs.get(job, ()))
        turn += 1
        if run.engine.running_job(turn % 3) is not None:
            run.done(turn % 3, run_ns=3e5)
    assert moved <= 256
