"""The pool of `schwimmbad`, and of the many that look like it, on the ranks of this pool.

::

    from bsbpool.integrations.schwimmbad import MPIPool

    with MPIPool() as pool:
        if not pool.is_master():
            pool.wait()
            sys.exit(0)
        print(pool.map(abs, range(-3, 3)))

All ranks make the pool. The master goes on; the others run its calls until it is closed, and then
exit, as those of schwimmbad do. A program of one process, which schwimmbad's `MPIPool` refuses,
has a thread for a worker. See docs/migrating.md for what differs.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from bsbpool.arguments import flag
from bsbpool.futures import PoolExecutor

__all__ = ["MPIPool", "SerialPool", "choose_pool"]


class SerialPool:
    """Calls everything here and now.

    Parameters
    ----------
    **kwargs
        Accepted for the sake of `choose_pool`.
    """

    size = 1
    rank = 0

    def __init__(self, **kwargs: Any) -> None:
        pass

    @staticmethod
    def enabled() -> bool:
        """Whether it can be used: always."""
        return True

    def is_master(self) -> bool:
        """Whether this is the rank that submits."""
        return self.rank == 0

    def is_worker(self) -> bool:
        """Whether this is a rank that runs calls."""
        return self.rank != 0

    def wait(self, callback: Callable[[], Any] | None = None) -> None:
        """Do nothing: who comes here is the master, or has worked already."""

    def map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        callback: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """Call `worker` with each task.

        Parameters
        ----------
        worker : callable
            Takes a task.
        tasks : iterable
            The tasks.
        callback : callable, optional
            Called here with each result as it comes, in the order of the tasks.

        Returns
        -------
        list
            The results in the order of the tasks.
        """
        results = []
        for result in self._calls(worker, tasks):
            if callback is not None:
                callback(result)
            results.append(result)
        return results

    def _calls(self, worker: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
        return map(worker, tasks)

    def batched_map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        callback: Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """Call `worker` with ``((first, end), tasks[first:end])`` for as many parts as workers."""
        return self.map(worker, batches(list(tasks), self.size), callback)

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
    """Has the other ranks make its calls. Collective.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part; by default all.
    use_dill : bool
        Accepted: what cannot be imported travels by value anyway.

    Examples
    --------
    >>> with MPIPool() as pool:
    ...     print(pool.map(abs, [-2, 3]))
    [2, 3]
    """

    def __init__(self, comm: Any = None, use_dill: bool = False) -> None:
        self._executor = PoolExecutor(comm)
        service = self._executor._service
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

    def _calls(self, worker: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
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
    """Return the pool that options of a command line ask for.

    Parameters
    ----------
    mpi : bool
        Whether to use the other ranks.
    processes : int
        Without them 1.
    **kwargs
        Of the pool.

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


def batches(tasks: list[Any], n: int) -> list[tuple[tuple[int, int], list[Any]]]:
    """Split tasks into at most `n` parts of nearly one length, each with where it stood."""
    n = min(n, len(tasks))
    least, more = divmod(len(tasks), n) if n else (0, 0)
    ends = [part * least + min(part, more) for part in range(n + 1)]
    return [((first, end), tasks[first:end]) for first, end in itertools.pairwise(ends)]
