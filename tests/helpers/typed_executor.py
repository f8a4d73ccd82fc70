"""What a type checker knows about the results of an executor's calls."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import assert_type

from bsbpool.futures import PoolExecutor, PoolFuture, as_completed
from bsbpool.integrations.mpi4py_futures import MPIPoolExecutor, collect
from bsbpool.integrations.mpipool import MPIExecutor


def length(text: str, times: int = 1) -> int:
    return len(text) * times


with PoolExecutor() as executor:
    if executor is not None:
        future = executor.submit(length, "abc", times=2)
        assert_type(future, PoolFuture[int])
        assert_type(future.result(), int)
        assert_type(future.result(timeout=1.0), int)
        executor.submit(length, 3)  # type: ignore[arg-type]
        assert_type(executor.map(length, ["a", "b"], buffersize=2), Iterator[int])
        assert_type(executor.starmap(length, [("a", 1)]), Iterator[int])
        after = executor.options(deps=[future], name="after").submit(length, "d")
        assert_type(after, PoolFuture[int])
        executor.options(dependencies=[future])  # type: ignore[call-arg]
        assert_type([each.result() for each in as_completed([future, after])], list[int])

assert_type(MPIPoolExecutor().submit(length, "abc").result(), int)
assert_type(MPIExecutor().submit(length, "abc"), Future[int])
futures: list[Future[int]] = []
assert_type(collect(futures), Future[list[int]])
