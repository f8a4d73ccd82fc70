"""Many jobs: the cost of each stays small, in time and in memory."""

import subprocess
import sys
import textwrap
import time

import pytest

from bsbpool._core.scheduling.status import Status
from bsbpool._core.testing.invariants import check
from bsbpool._core.testing.manual_engine import ManualEngine

N_JOBS = 200_000
N_EDGES = 3


def run_serially(engine):
    """Take and finish jobs until none is ready; return their number."""
    n = 0
    while (job := engine.start_next()) is not None:
        engine.finish(job, Status.SUCCESS)
        n += 1
    return n


def test_many_jobs_with_dependencies_take_microseconds_each():
    engine = ManualEngine()
    start = time.process_time()
    for job in range(N_JOBS):
        engine.submit((job - 1, job - 7, job - 100) if job >= 100 else ())
    engine.start_run()
    assert run_serially(engine) == N_JOBS
    assert time.process_time() - start < 40e-6 * N_JOBS  # it takes about 1 us each
    check(engine)


MEASURE = """
    import gc, os
    from bsbpool._core.testing.manual_engine import ManualEngine

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    engine = ManualEngine()
    gc.collect()
    before = resident()
    for job in range({n_jobs}):
        engine.submit((job - 1, job - 7, job - 100) if job >= 100 else ())
    engine.start_run()
    print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_job_takes_less_than_100_bytes_and_an_edge_8():
    code = textwrap.dedent(MEASURE.format(n_jobs=N_JOBS))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) / N_JOBS < 96 + 8 * N_EDGES


def test_the_cost_of_a_shared_set_is_the_sum_and_not_the_product():
    """20,000 jobs that wait for 20,000 others; single edges would take 3.2 GB and minutes."""
    n = 20_000
    engine = ManualEngine()
    start = time.process_time()
    join = engine.add_join([engine.submit() for _ in range(n)])
    for _ in range(n):
        engine.submit(joins=[join])
    engine.start_run()
    assert run_serially(engine) == 2 * n
    assert time.process_time() - start < 40e-6 * 2 * n
    check(engine)


def test_thousands_of_workers():
    engine = ManualEngine()
    engine.open_workers(2000)
    for _ in range(20_000):
        engine.submit()
    engine.start_run()
    start = time.process_time()
    n = 0
    while actions := engine.assign():
        for _, worker, job in actions:
            engine.done(worker, job, Status.SUCCESS)
        n += len(actions)
    assert n == 20_000
    assert time.process_time() - start < 40e-6 * n
    check(engine)
