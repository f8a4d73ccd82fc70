"""No-op jobs in mpi4py.futures: submit each, check the results."""

from mpi4py.futures import MPICommExecutor

from benches.programs.common import Meter, noop, options, say


def main() -> None:
    jobs = options(jobs=1000).jobs
    with MPICommExecutor() as executor:
        if executor is None:
            return
        meter = Meter()
        futures = [executor.submit(noop, None, number) for number in range(jobs)]
        results = [future.result() for future in futures]
        figures = meter.read()
    assert results == list(range(jobs))
    say(jobs=jobs, **figures)


if __name__ == "__main__":
    main()
