from common import JOBS, Meter, noop
from mpi4py.futures import MPICommExecutor

with MPICommExecutor() as executor:
    if executor is not None:
        meter = Meter()
        futures = [executor.submit(noop, None, number) for number in range(JOBS)]
        assert [future.result() for future in futures] == list(range(JOBS))
        meter.report()
