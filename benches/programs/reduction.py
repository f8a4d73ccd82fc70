"""A tree reduction of arrays that stay on the workers, with bsbpool or with Dask distributed."""

import logging

import numpy as np

from benches.programs.common import Meter, options, say


def make(owner, size: int):
    return np.ones(size, np.uint8)


def add(owner, a, b):
    return a + b


def total(owner, array) -> int:
    return int(array.sum(dtype=np.int64))


def level_above(level: list, submit) -> list:
    return [submit(add, *pair) for pair in zip(level[::2], level[1::2], strict=True)]


def own(arrays: int, size: int) -> None:
    from bsbpool import create_job_pool

    with create_job_pool(quiet=True) as pool:
        meter = Meter()
        if pool.is_main():
            submit = pool.options(keep="worker").submit
            level = [submit(make, size) for _ in range(arrays)]
            while len(level) > 1:
                level = level_above(level, submit)
            last = pool.submit(total, level[0])
        pool.execute()
        if pool.is_main():
            figures = meter.read()
            check(last.result, arrays, size)
            say(arrays=arrays, **figures)


def dask(arrays: int, size: int, workers: int) -> None:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.ERROR,
    )
    with cluster, Client(cluster) as client:

        def submit(f, *args):
            return client.submit(f, None, *args, pure=False)

        meter = Meter()
        level = [submit(make, size) for _ in range(arrays)]
        while len(level) > 1:
            level = level_above(level, submit)
        result = submit(total, level[0]).result()
        figures = meter.read()
        check(result, arrays, size)
        say(arrays=arrays, **figures)


def check(result: int, arrays: int, size: int) -> None:
    if result != size * (arrays % 256):
        raise AssertionError(f"wrong sum {result}")


def main() -> None:
    given = options(arrays=1024, size=1 << 20, workers=0)
    if given.workers:
        dask(given.arrays, given.size, given.workers)
    else:
        own(given.arrays, given.size)


if __name__ == "__main__":
    main()
