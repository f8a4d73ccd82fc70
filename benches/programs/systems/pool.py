"""multiprocessing.Pool with one worker process."""

from __future__ import annotations

from concurrent.futures import Future
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolType

from benches.programs.common import task
from benches.programs.systems.support import Script, by_futures


def session(script: Script) -> None:
    with Pool(1) as pool:
        script(lambda workload: by_futures(submitter(pool), task, workload))


def submitter(pool: PoolType):
    """Return a `submit` like that of executors."""

    def submit(function, *args) -> Future:
        future: Future = Future()
        pool.apply_async(function, args, {}, future.set_result, future.set_exception)
        return future

    return submit
