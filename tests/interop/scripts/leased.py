"""joblib and scinexus one beside the other, in a program that opens no executor itself."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config
from playing import error_of, show
from scinexus import parallel, set_parallel_backend

from bsbpool.futures import PoolExecutor
from bsbpool.integrations._shared_executor import shared_executor
from bsbpool.integrations.joblib import register
from bsbpool.integrations.scinexus import BsbPoolBackend


def square(x: int) -> int:
    return x * x


def both() -> Any:
    register()
    set_parallel_backend(BsbPoolBackend())
    with parallel_config("bsbpool"):
        first = parallel.imap(square, range(4))
        begun = next(first)
        second = Parallel(return_as="generator")(delayed(square)(n) for n in range(4))
        return [begun, *first], list(second)


def afterwards() -> Any:
    """The workers are free for an executor of the program's own."""
    with PoolExecutor() as executor:
        return list(executor.map(square, range(4)))


def failures() -> Any:
    """What joblib refuses before it begins."""
    register()
    kinds = []
    for parallel_of in (lambda: Parallel()(42), lambda: Parallel(pre_dispatch="nonsense")(calls())):
        with parallel_config("bsbpool"):
            reported = error_of(parallel_of)
        kinds.append([reported and reported[0], afterwards()])
    return kinds, afterwards()


def calls() -> Any:
    return [delayed(square)(n) for n in range(4)]


def until(path: Path, n: int) -> int:
    while n == 0 and not path.exists():
        time.sleep(0.01)
    return n


def given_up() -> Any:
    """A call goes on after the timeout of its `Parallel`; others do without its worker."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "go on"
        with parallel_config("bsbpool"):
            if Parallel()._effective_n_jobs() > 1:
                error_of(
                    Parallel(timeout=0.2, batch_size=1), (delayed(until)(path, n) for n in range(3))
                )
            first, second = Parallel()(calls()), list(parallel.imap(square, range(4)))
        before = path.exists()
        timer = threading.Timer(0.3, path.touch)
        timer.start()
        third = afterwards()
        after = path.exists()
        timer.join()
        return first, second, third, before, after


def threads() -> Any:
    """One borrows while another, who was the last to need it, shuts it down."""
    lease, begun, shutdown = shared_executor.lease(), threading.Event(), PoolExecutor.shutdown

    def slow(*args: Any, **kwargs: Any) -> None:
        begun.set()
        time.sleep(0.2)
        shutdown(*args, **kwargs)

    PoolExecutor.shutdown = slow  # type: ignore[method-assign]
    thread = threading.Thread(target=lease.end)
    thread.start()
    begun.wait()
    with shared_executor.lease() as executor:
        result = executor.submit(square, 3).result()
    thread.join()
    PoolExecutor.shutdown = shutdown  # type: ignore[method-assign]
    return result


show(both, afterwards, both, failures, given_up, threads)
