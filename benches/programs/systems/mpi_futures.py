"""mpi4py.futures."""

from mpi4py.futures import MPICommExecutor

from benches.programs.common import task
from benches.programs.systems.support import Script, by_futures


def session(script: Script) -> None:
    with MPICommExecutor() as executor:
        if executor is not None:
            script(lambda workload: by_futures(executor.submit, task, workload))
