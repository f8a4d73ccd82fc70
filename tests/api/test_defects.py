"""A test for each known defect of the pool of bsb-core 8.0.2, which bsbpool does not have.

The number of a test is that of the defect. If a defect needs several ranks, the body of the
test runs on them (see `on_ranks`), and the test fails if a rank raises, hangs or dies.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import threading
import time

import numpy as np
import pytest

from bsbpool import (
    JobErroredError,
    JobPool,
    JobPoolContextError,
    JobPoolError,
    JobStatus,
    PoolStatus,
    WorkflowError,
    create_job_pool,
    pool_cache,
    services,
)
from helpers.launch import TESTS, environment, is_openmpi, launcher, start, stop

from .on_ranks import on_ranks
from .support import (
    SUCCEEDS,
    Node,
    RecordingListener,
    cpu_limit,
    cpu_seconds,
    fail,
    give,
    nothing,
    statuses,
    until,
)


def now(owner):
    return time.time()


def sleep(owner, seconds, value=None):
    time.sleep(seconds)
    return value


def run_nothing(n):
    """Run `n` jobs that do nothing."""
    with create_job_pool(quiet=True) as pool:
        for _ in range(n if pool.is_main() else 0):
            pool.submit(nothing)
        pool.execute()


@on_ranks(2)
def test_01_results_over_32_kib_are_returned():
    sizes = [32_700, 32_767, 32_768, 32_769, 1_000_000, 64 << 20]
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            raw = [pool.submit(lambda owner, n: bytes(n), n) for n in sizes]
            arrays = [pool.submit(lambda owner, n: np.full(n, 7, np.uint8), n) for n in sizes]
        pool.execute()
        if pool.is_main():
            assert [job.result for job in raw] == [bytes(n) for n in sizes]
            assert all((job.result == 7).all() for job in arrays)
            assert [len(job.result) for job in arrays] == sizes


@pytest.mark.timing
@on_ranks(3)
def test_02_abort_ends_while_another_worker_is_busy():
    def listener(record):
        if record.status is JobStatus.SUCCESS:
            raise InterruptedError

    for fast, failing, error in ((True, fail, WorkflowError), (False, nothing, InterruptedError)):
        services.MPI.barrier()  # both are to be free
        began = time.monotonic()
        with create_job_pool(quiet=True, fail_fast=fast) as pool:
            if pool.is_main():
                pool.submit(sleep, 2.0, bytes(1 << 20))  # a large reply that is never received
                pool.submit(failing)
            if pool.is_main() and not fast:
                pool.add_listener(listener)
            with pytest.raises(error if pool.is_main() else WorkflowError):
                pool.execute()
            assert not pool.is_main() or time.monotonic() - began < 1.9
    run_nothing(10)
    services.MPI.barrier()  # or main's end would be that of the rank that is busy


@pytest.mark.timing
@on_ranks(3)
def test_03_interrupting_main_ends_all_ranks():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = [pool.submit(sleep, 2.5) for _ in range(2)]
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt if pool.is_main() else WorkflowError):
            pool.execute()
        if pool.is_main():
            assert time.monotonic() - began < 2.4
            assert statuses(*jobs) == ["aborted", "aborted"]
    services.MPI.barrier()


def run_until(death):
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            pool.queue(death, submitter=Node("the deadly job"))
            pool.submit(sleep, 1.0)
        pool.execute()


def a_worker_exits():
    run_until(lambda owner: os._exit(3))


def a_worker_is_killed():
    run_until(lambda owner: os.kill(os.getpid(), signal.SIGKILL))


def start_ranks(body, *options):
    """Run a body on 3 ranks with options of mpiexec's own; return exit code and output."""
    command, *rest = launcher(3)
    program = (sys.executable, "-m", "api.on_ranks", __name__, body.__name__, "35")
    process = start([command, *options, *rest, *program], cwd=TESTS, env=environment())
    try:
        text, _ = process.communicate(timeout=40)
    finally:
        stop(process)
    return process.returncode, text


def test_04_death_of_a_worker_ends_the_run():
    for body in (a_worker_exits, a_worker_is_killed):
        code, text = start_ranks(body)
        assert code != 0, text


def test_04_death_of_a_worker_names_its_job():
    if is_openmpi(launcher(3)[0]):
        bodies, options = (a_worker_exits, a_worker_is_killed), ("--with-ft", "ulfm")
    else:  # where a killed rank makes mpiexec end the others whatever the option says
        bodies, options = (a_worker_exits,), ("-disable-auto-cleanup",)
    for body in bodies:
        _, text = start_ranks(body, *options)
        assert "the deadly job" in text


@on_ranks(2)
def test_05_pools_leave_no_windows_or_communicators():
    for _ in range(2_200):  # it ended with the 2,046th
        with create_job_pool(quiet=True) as pool:
            pass
    for _ in range(20):
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(give, 5) if pool.is_main() else None
            pool.execute()
            assert job is None or job.result == 5


@on_ranks(2)
def test_06_mass_cancel_of_queued_jobs():
    def wait_for(owner, file):
        assert until(lambda: os.path.exists(file), 30)

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            over = os.path.join(JobPool.get_tmp_folder(pool.id), "over")
            first = pool.submit(wait_for, over)
            jobs = [pool.submit(nothing) for _ in range(20_000)]

            def cancel_all(node):
                assert until(lambda: first.status is JobStatus.RUNNING)
                with cpu_limit(1.0):
                    for job in jobs:
                        job.cancel("all of them")
                open(over, "w").close()

            pool.schedule([None], cancel_all)
        pool.execute()
        if pool.is_main():
            assert statuses(first) == ["success"]
            assert {job.status.value for job in jobs} == {"cancelled"}


@pytest.mark.slow
@on_ranks(2)
def test_07_cost_of_a_job_does_not_grow_with_their_number():
    run_nothing(100)
    few = cpu_seconds(lambda: run_nothing(1_000))
    many = cpu_seconds(lambda: run_nothing(8_000))
    # In proportion it would be 8 times, with the square of their number 64 times as much.
    assert services.MPI.get_rank() or many / few < 20, (few, many)
    assert services.MPI.get_rank() or many < 4.0, many  # it was 69 s


@pytest.mark.limit(60)
def test_08_cost_of_a_serial_job_does_not_grow_with_their_number():
    threads = set()

    def work(owner):
        threads.add(threading.get_ident())

    def run(n):
        with create_job_pool(quiet=True) as pool:
            for item in range(n):
                pool.queue(work, cache_items=[item % 50])
            pool.execute()

    few = cpu_seconds(lambda: run(1_000))
    many = cpu_seconds(lambda: run(16_000), repeat=2)
    assert many / few < 40, (few, many)  # in proportion 16, with the square 256
    assert threads == {threading.get_ident()}


@on_ranks(3)
def test_09_jobs_cost_no_threads_and_waiting_no_cpu():
    def threads(owner=None):
        return len(os.listdir("/proc/self/task"))

    before = threads()
    with create_job_pool(quiet=True) as pool:
        seen = {before}
        jobs = [pool.submit(threads) for _ in range(300)] if pool.is_main() else []
        for job in jobs:
            job.on_completion(lambda job: seen.update((threads(), job.result)))
        pool.execute()
        assert max(seen) <= before + 2  # one of MPI's, and the watch of a worker
    for jobs in (2, 1):  # both workers busy; one worker idle
        with create_job_pool(quiet=True) as pool:
            for _ in range(jobs if pool.is_main() else 0):
                pool.submit(sleep, 1.5)
            began = time.process_time()
            pool.execute()
            used = time.process_time() - began
            assert used < (0.15 if pool.is_main() else 0.3), used


@pytest.mark.slow
@on_ranks(2)
def test_10_many_dependencies_of_many_jobs():
    n = 800
    run_nothing(100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with create_job_pool(quiet=True) as pool, cpu_limit(2.0):
        if pool.is_main():
            early = [pool.submit(nothing) for _ in range(n)]
            late = [pool.submit(nothing, deps=list(early)) for _ in range(n)]
        pool.execute()
        if pool.is_main():
            assert set(statuses(*late)) == {"success"}
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 40_000, f"{grown} KiB"  # it was 80 MB


class Layer(Node):
    """A node that counts how often its cached method is evaluated."""

    def __init__(self, name, scaffold=None):
        super().__init__(name)
        self.scaffold = scaffold
        self.evaluated = 0

    @pool_cache
    def density(self):
        self.evaluated += 1


class Owner:
    """The owner on a rank: two nodes of one class, and any number of items."""

    def __init__(self):
        self._pool_cache = {}
        self.layers = {name: Layer(name, self) for name in "ab"}

    def register_pool_cached_item(self, id, cleanup):
        self._pool_cache.setdefault(id, []).append(cleanup)


@pytest.mark.slow
@on_ranks(3)
def test_11_more_than_1000_cache_items():
    def work(owner, id):
        owner.register_pool_cached_item(id, lambda: None)
        return len(owner._pool_cache)

    owner = Owner()
    with create_job_pool(owner, quiet=True) as pool:
        if pool.is_main():
            jobs = [pool.queue(work, (id,), cache_items=[id]) for id in range(1, 5_001)]
            held = pool.submit(lambda owner: list(owner._pool_cache), deps=jobs)
            assert pool.get_required_cache_items() == set(range(1, 5_001))
        pool.execute()
        if pool.is_main():
            assert held.result == []
            assert max(job.result for job in jobs) < 1_000  # they are freed as the jobs end
    assert owner._pool_cache == {}


@on_ranks(2)
def test_12_cached_items_stay_while_they_are_required():
    def work(owner, name):
        owner.layers[name].density()
        return name, owner.layers[name].evaluated

    owner = Owner()
    with create_job_pool(owner, quiet=True) as pool:
        if pool.is_main():

            def queue(name):
                pool.queue(work, (name,), cache_items=[owner.layers[name]])

            def late(node):
                assert until(lambda: statuses(*pool.jobs).count("success") > 4)
                for name in "bbbb":
                    queue(name)
                    time.sleep(0.01)

            for name in "abababab":
                queue(name)
            pool.queue(sleep, (0.3,), cache_items=[owner.layers["b"]])
            pool.schedule([None], late)
        results = pool.execute(return_results=True)
        assert {found for found in results.values() if found} <= {("a", 1), ("b", 1)}


@on_ranks(3)
def test_13_jobs_queued_meanwhile_are_noticed_at_once():
    with create_job_pool(quiet=True) as pool:
        jobs = []

        def schedule(node):
            time.sleep(0.3)  # main waits for the long job by now
            jobs.append(pool.submit(now))
            jobs.append(pool.submit(now, deps=jobs))
            time.sleep(1.5)

        if pool.is_main():
            pool.submit(sleep, 2.0)
            pool.schedule([None], schedule)
        pool.execute()
        assert not jobs or jobs[1].result - jobs[0].result < 1.0


def test_14_pings_keep_their_pace_while_nodes_are_scheduled(pool):
    recorder = RecordingListener()
    pool.add_listener(recorder, max_wait=0.3)
    for _ in range(2):
        pool.schedule([0.7], time.sleep)
    with cpu_limit(0.3):
        pool.execute()
    assert recorder.pings <= 3


@on_ranks(1, limit=30)
def test_15_serial_job_that_exits_fails():
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(lambda owner: sys.exit(3)), pool.submit(give, 1)]
        with pytest.raises(WorkflowError):
            pool.execute()
        assert statuses(*jobs) == ["failed", "success"]
        assert isinstance(jobs[0].error, SystemExit)


@on_ranks(2)
def test_16_results_that_cannot_be_pickled_fail_their_job():
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            stuck = pool.submit(lambda owner: threading.Lock())
            after = pool.submit(nothing, deps=[stuck])
            function = pool.submit(lambda owner: lambda x: x + 1)
            other = pool.submit(give, 1)
        with pytest.raises(WorkflowError) as raised:
            pool.execute()
        if pool.is_main():
            assert statuses(stuck, after) == ["failed", "cancelled"]
            assert "job 0 '<lambda>()' cannot be pickled" in str(stuck.error)
            assert len(raised.value.exceptions) == 1
            assert function.result(1) == 2
            assert other.result == 1
            assert pool.status is PoolStatus.CLOSING


class TwoArguments(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.second = second


@on_ranks(3)
def test_17_exceptions_with_their_own_signature_arrive():
    def raises(owner):
        raise TwoArguments(1, 2)

    with create_job_pool(quiet=True) as pool:
        job = pool.submit(raises) if pool.is_main() else None
        with pytest.raises(WorkflowError):
            pool.execute()
        if job:
            assert type(job.error) is TwoArguments
            assert (str(job.error), job.error.second) == ("1 and 2", 2)
            assert "in raises" in job.error.__cause__.text


@on_ranks(2)
def test_18_a_failure_is_reported_once():
    for fast in (False, True):
        with create_job_pool(quiet=True, fail_fast=fast) as pool:
            recorder = RecordingListener()
            pool.add_listener(recorder)
            job = pool.submit(fail) if pool.is_main() else None
            with pytest.raises(WorkflowError) as raised:
                pool.execute()
            assert len(raised.value.exceptions) == 1
            assert not job or recorder.steps_of(job).count("running > failed") == 1


@on_ranks(3)
def test_19_records_tell_the_status_at_the_event():
    with create_job_pool(quiet=True) as pool:
        recorder = RecordingListener()
        pool.add_listener(recorder)
        if pool.is_main():
            first = pool.submit(nothing)
            jobs = [first, *(pool.submit(nothing, deps=[first]) for _ in range(200))]
        pool.execute()
        if pool.is_main():
            assert {tuple(recorder.steps_of(job)) for job in jobs} == {tuple(SUCCEEDS)}


@on_ranks(2)
def test_20_two_pools_of_one_second():
    id = services.MPI.bcast(int(time.time()))
    with JobPool(id, "outer") as outer, JobPool(id, "inner") as inner:
        for pool in (inner, outer):
            job = pool.queue(lambda owner: owner) if pool.is_main() else None
            own = JobPool.get_owner(pool.id)
            pool.execute()
            assert job is None or job.result == own
    with pytest.raises(KeyError):
        JobPool.get_owner(id)


@on_ranks(3)
def test_21_a_pool_opened_in_a_job():
    def opens_one(owner, n):
        with create_job_pool(n, quiet=True) as inner:
            jobs = [inner.submit(lambda own, k: own * k, k) for k in range(4)]
            inner.execute()
            return inner.is_main(), [job.result for job in jobs]

    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            jobs = [pool.submit(opens_one, n) for n in range(6)]
        pool.execute()
        if pool.is_main():
            assert [job.result for job in jobs] == [
                (True, [n * k for k in range(4)]) for n in range(6)
            ]


@on_ranks(3)
def test_22_a_dependency_of_another_pool_is_refused():
    with create_job_pool(quiet=True) as one, create_job_pool(quiet=True) as other:
        if one.is_main():
            job = one.submit(nothing)
            with pytest.raises(JobPoolError, match="which is not in this pool"):
                other.submit(nothing, deps=[job])
        other.execute()


def test_23_cancel_after_completion_changes_nothing(pool):
    job = pool.submit(give, 1)
    job.on_completion(lambda job: job.cancel())
    with pytest.warns(UserWarning, match="finished"):
        assert pool.execute(return_results=True) == {job: 1}
    assert statuses(job) == ["success"]


@on_ranks(2, limit=30)
def test_24_execute_twice_is_refused():
    for comm in (None, services.MPI._mpi.COMM_SELF):
        with create_job_pool(quiet=True, comm=comm) as pool:
            if pool.is_main():
                pool.submit(nothing)
            pool.execute()
            with pytest.raises(JobPoolContextError, match="has already been executed"):
                pool.execute()


@on_ranks(3)
def test_25_a_pool_stays_on_its_communicator():
    rank = services.MPI.get_rank()
    part = services.MPI.get_communicator().Split(rank == 2)

    class Scaffold:
        _comm = services.mpi.MPIService(part)

    for owner, comm in ((Scaffold(), None), (None, part)):
        if rank == 2:
            continue  # takes no part at all
        with create_job_pool(owner, comm=comm, quiet=True) as pool:
            jobs = [pool.submit(lambda o: services.MPI.get_rank()) for _ in range(5 - 5 * rank)]
            pool.execute()
            assert {job.result for job in jobs} <= {1}


@on_ranks(3, limit=40)
def test_26_abort_does_not_wait_for_schedulers():
    if services.MPI.get_rank() == 0:  # alone first
        with create_job_pool(quiet=True, fail_fast=True, comm=services.MPI._mpi.COMM_SELF) as pool:
            pool.schedule([60.0], time.sleep)
            pool.schedule([None], fail)
            with pytest.raises(WorkflowError):
                pool.execute()
    with create_job_pool(quiet=True, fail_fast=True) as pool:
        if pool.is_main():
            pool.submit(fail)
            pool.schedule([60.0], time.sleep)
        with pytest.raises(WorkflowError):
            pool.execute()


@pytest.mark.timing
@on_ranks(2)
def test_27_failing_fast_does_not_wait_for_a_running_job():
    for n in (0, 500):  # after many short jobs others are sent ahead
        services.MPI.barrier()
        with create_job_pool(quiet=True, fail_fast=True) as pool:
            if pool.is_main():
                short = [pool.submit(nothing) for _ in range(n)]
                pool.submit(fail, deps=short)
                pool.submit(sleep, 2.0, deps=short)
            began = time.monotonic()
            with pytest.raises(WorkflowError):
                pool.execute()
            assert not pool.is_main() or time.monotonic() - began < 1.8
    services.MPI.barrier()


def test_28_cached_methods_of_a_node_are_looked_up_once(bsb_pool):
    class Strategy(Layer):
        _config_attrs = {}  # noqa: RUF012  (by which bsb knows a node)
        looks = 0

        def __dir__(self):
            self.looks += 1
            return super().__dir__()

    strategy = Strategy("granular")
    for n in range(1_000):
        bsb_pool.queue_placement(strategy, (0, 0, n))
        bsb_pool.queue_connectivity(strategy, [(0, 0, n)], None)
        bsb_pool.queue(nothing, cache_items=[strategy])
    assert strategy.looks <= 3


@on_ranks(2)
def test_29_all_listeners_get_the_record_that_made_one_raise():
    def raises(record):
        if record.status is JobStatus.SUCCESS:
            raise InterruptedError

    with create_job_pool(quiet=True) as pool:
        recorders = [RecordingListener(), RecordingListener()]
        for listener in (recorders[0], raises, recorders[1]):
            pool.add_listener(listener)
        if pool.is_main():
            jobs = [pool.submit(nothing) for _ in range(50)]
        with pytest.raises(InterruptedError if pool.is_main() else WorkflowError):
            pool.execute()
        if pool.is_main():
            for recorder in recorders:
                assert "running > success" in recorder.steps_of(jobs[0])
                assert recorder.pool_steps[-1] == "executing > closing"
            assert not {"pending", "queued", "running"} & set(statuses(*jobs))


@on_ranks(2)
def test_30_results_are_not_written_to_files():
    written = []

    def watch(event, args):
        if event == "open" and isinstance(args[1], str) and set("wax+") & set(args[1]):
            written.append(args[0])

    run_nothing(10)
    with create_job_pool(quiet=True) as pool:
        jobs = [pool.submit(give, n) for n in range(100)] if pool.is_main() else []
        sys.addaudithook(watch)
        pool.execute()
        assert [job.result for job in jobs] == list(range(len(jobs)))
        assert written == []
        assert os.listdir(JobPool.get_tmp_folder(pool.id)) == []


def test_31_errors_keep_their_kind_and_content():
    group = WorkflowError("errors", [JobErroredError("a failed", ValueError(1)), JobPoolError("b")])
    for part in (*group.split(JobErroredError), group.subgroup(JobPoolError)):
        assert type(part) is WorkflowError
    copy = pickle.loads(pickle.dumps(group))
    assert type(copy) is WorkflowError
    assert copy.exceptions[0].error.args == (1,)
