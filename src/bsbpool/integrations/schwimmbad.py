"""The API of `schwimmbad`'s pools on bsbpool's executor.

::

    from bsbpool.integrations.schwimmbad import MPIPool

    with MPIPool() as pool:
        if not pool.is_master():
            pool.wait()
            sys.exit(0)
        print(pool.map(abs, range(-3, 3)))

All ranks create the pool. The master goes on; the others run its calls until it is closed, and
then exit, as in schwimmbad. With one process, which schwimmbad's `MPIPool` refuses, a thread runs
the calls. See docs/migrating.md for the differences.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from bsbpool import execution
from bsbpool._typing import LazyType
from bsbpool.arguments import flag
from bsbpool.futures import PoolExecutor

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm
else:
    Intracomm = LazyType("mpi4py.MPI", "Intracomm")

__all__ = ["MPIPool", "SerialPool", "choose_pool"]

T = TypeVar("T")


class SerialPool:
    """A pool that makes all calls in this process.

    Parameters
    ----------
    **kwargs
        Ignored; `choose_pool` passes the options of any pool.
    """

    size = 1
    rank = 0

    def __init__(self, **kwargs: Any) -> None:
        pass

    @staticmethod
    def enabled() -> bool:
        """Whether the pool can be used: always."""
        return True

    def is_master(self) -> bool:
        """Whether this is the rank that submits."""
        return self.rank == 0

    def is_worker(self) -> bool:
        """Whether this is a rank that runs calls."""
        return self.rank != 0

    def wait(self, callback: Callable[[], object] | None = None) -> None:
        """Do nothing: the master has nothing to wait for, and workers never reach this call."""

    def map(
        self,
        worker: Callable[[Any], T],
        tasks: Iterable[Any],
        callback: Callable[[T], object] | None = None,
    ) -> list[T]:
        """Call `worker` with each task.

        Parameters
        ----------
        worker : callable
            Called with each task.
        tasks : iterable
            The tasks.
        callback : callable, optional
            Called in this process with each result, in the order of the tasks.

        Returns
        -------
        list
            The results in the order of the tasks.
        """
        results: list[T] = []
        for result in self._results(worker, tasks):
            if callback is not None:
                callback(result)
            results.append(result)
        return results

    def _results(self, worker: Callable[[Any], T], tasks: Iterable[Any]) -> Iterable[T]:
        return map(worker, tasks)

    def batched_map(
        self,
        worker: Callable[[Any], T],
        tasks: Iterable[Any],
        callback: Callable[[T], object] | None = None,
    ) -> list[T]:
        """Split the tasks into one part per worker; call `worker` with each part.

        The argument of each call is ``((first, end), tasks[first:end])``.
        """
        return self.map(worker, split_tasks(list(tasks), self.size), callback)

    def close(self) -> None:
        """End the pool."""

    def __enter__(self) -> SerialPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class MPIPool(SerialPool):
    """A pool whose calls run on the other ranks. Creating it is collective.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part; by default all.
    use_dill : bool
        Ignored: functions that cannot be imported are sent by value in any case.

    Examples
    --------
    >>> with MPIPool() as pool:
    ...     print(pool.map(abs, [-2, 3]))
    [2, 3]
    """

    def __init__(self, comm: Intracomm | None = None, use_dill: bool = False) -> None:
        self._executor = PoolExecutor(comm)
        service = execution.service_for(None, comm)
        self.comm = service.get_communicator()
        self.master = 0
        self.rank = service.get_rank()
        self._open = True
        if self._executor.__enter__() is None:
            self.close()
            sys.exit(0)
        self.size = self._executor.num_workers
        self.workers = set(range(1, self.size + 1))

    @staticmethod
    def enabled() -> bool:
        """Whether there are other ranks."""
        from bsbpool import services

        return bool(services.MPI.get_size() > 1)

    def _results(self, worker: Callable[[Any], T], tasks: Iterable[Any]) -> Iterable[T]:
        return self._executor.map(worker, tasks)

    def close(self) -> None:
        """End the pool; the workers exit."""
        self.__exit__(None, None, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._open:
            self._open = False
            self._executor.__exit__(kind, error, traceback)


def choose_pool(mpi: bool = False, processes: int = 1, **kwargs: Any) -> SerialPool:
    """Return an `MPIPool` or a `SerialPool`, as the options of a command line say.

    Parameters
    ----------
    mpi : bool
        Whether to run calls on the other ranks.
    processes : int
        The number of processes; must be 1 without `mpi`.
    **kwargs
        Arguments of the pool.

    Examples
    --------
    >>> with choose_pool(mpi=False) as pool:
    ...     print(pool.map(abs, [-2, 3]))
    [2, 3]
    """
    if flag("mpi", mpi):
        return MPIPool(**kwargs)
    if processes != 1:
        raise ValueError(
            f"processes must be 1 without MPI, got {processes}; use mpi=True and start the program "
            f"with `mpiexec -n {processes + 1}`, or use schwimmbad's MultiPool"
        )
    return SerialPool(**kwargs)


def split_tasks(tasks: list[Any], n: int) -> list[tuple[tuple[int, int], list[Any]]]:
    """Split tasks into at most `n` parts of nearly equal length, each with its range of indices."""
    n = min(n, len(tasks))
    length, n_longer = divmod(len(tasks), n) if n else (0, 0)
    ends = [part * length + min(part, n_longer) for part in range(n + 1)]
    return [((first, end), tasks[first:end]) for first, end in itertools.pairwise(ends)]
