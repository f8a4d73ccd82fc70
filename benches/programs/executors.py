"""No-op calls in an executor, by submit or map, with their results checked."""

from __future__ import annotations

from typing import Any

from benches.programs.common import Meter, noop, options, say


def executor_of(mpi4py: bool) -> Any:
    """Return the executor that all ranks enter."""
    if mpi4py:
        from mpi4py.futures import MPICommExecutor

        return MPICommExecutor()
    from bsbpool.futures import PoolExecutor

    return PoolExecutor()


def submitted(executor: Any, jobs: int) -> list[int]:
    futures = [executor.submit(noop, None, number) for number in range(jobs)]
    return [future.result() for future in futures]


def mapped(executor: Any, jobs: int, chunksize: int) -> list[int]:
    chunks = {"chunksize": chunksize} if chunksize else {}
    return list(executor.map(abs, range(jobs), **chunks))


def main() -> None:
    given = options(jobs=1000, mpi4py=False, map=False, chunksize=0)
    with executor_of(given.mpi4py) as executor:
        if executor is None:
            return
        meter = Meter()
        if given.map:
            results = mapped(executor, given.jobs, given.chunksize)
        else:
            results = submitted(executor, given.jobs)
        figures = meter.read()
    assert results == list(range(given.jobs))
    say(jobs=given.jobs, **figures)


if __name__ == "__main__":
    main()
