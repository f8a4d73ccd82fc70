"""joblib and scinexus one beside the other, in a program that opens no executor itself."""

from __future__ import annotations

from typing import Any

from joblib import Parallel, delayed, parallel_config
from playing import show
from scinexus import parallel, set_parallel_backend

from bsbpool.futures import PoolExecutor
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


show(both, afterwards, both)
