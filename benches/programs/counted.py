"""Programs whose instructions `benches.gate` counts."""

import gc

from benches.programs.common import noop, options
from bsbpool import create_job_pool


def core(jobs: int) -> None:
    from bsbpool._core.testing.baseline import run_core

    run_core(jobs)


def serial(jobs: int) -> None:
    with create_job_pool(quiet=True) as pool:
        for number in range(jobs):
            pool.queue(noop, (number,))
        pool.execute(return_results=True)


def bulk(jobs: int) -> None:
    with create_job_pool(quiet=True) as pool:
        pool.queue_many(noop, [(number,) for number in range(jobs)])
        pool.execute(return_results=True)


def main() -> None:
    given = options(what="serial", jobs=1000)
    # Collections depend on the number of all objects, so n and 2n jobs would not compare.
    gc.disable()
    {"core": core, "serial": serial, "bulk": bulk}[given.what](given.jobs)


if __name__ == "__main__":
    main()
