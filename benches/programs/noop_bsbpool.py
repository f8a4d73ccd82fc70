from common import JOBS, Meter, noop

from bsbpool import create_job_pool

with create_job_pool(quiet=True) as pool:
    meter = Meter()
    if pool.is_main():
        for number in range(JOBS):
            pool.queue(noop, (number,))
    results = pool.execute(return_results=True)
    if pool.is_main():
        assert list(results.values()) == list(range(JOBS))
        meter.report()
