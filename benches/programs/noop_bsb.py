from bsb import MPI, JobPool
from common import JOBS, Meter, noop


class Owner:
    _comm = MPI

    def __init__(self):
        self._pool_cache = {}


with JobPool(1, Owner()) as pool:
    meter = Meter()
    if pool.is_main():
        for number in range(JOBS):
            pool.queue(noop, (number,))
    results = pool.execute(return_results=True)
    if pool.is_main():
        assert len(results) == JOBS
        meter.report()
