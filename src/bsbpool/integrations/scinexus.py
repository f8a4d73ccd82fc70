"""A parallel backend for scinexus, whose apps then run on the ranks of a communicator.

::

    from scinexus import set_parallel_backend
    from bsbpool.integrations.scinexus import BsbPoolBackend

    backend = BsbPoolBackend()
    set_parallel_backend(backend)
    with backend as main:            # on all ranks
        if main is not None:         # on rank 0; the others have worked until here
            app.apply_to(store, parallel=True)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Sized
from types import TracebackType
from typing import Any

try:
    from scinexus import parallel
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "scinexus":
        raise
    raise ModuleNotFoundError(
        "scinexus is not installed; get it with `pip install bsbpool[scinexus]`", name="scinexus"
    ) from error

from bsbpool import execution
from bsbpool.futures import PoolExecutor
from bsbpool.futures.backend import in_backend_thread
from bsbpool.futures.chunks import worker_process
from bsbpool.futures.executor import entered_executor
from bsbpool.integrations._scinexus_checks import check_serial, count, warn_of_max_workers
from bsbpool.integrations._shared_executor import Lease, SharedExecutor, shared_executor
from bsbpool.process import running
from bsbpool.serialization import portable

ITEMS_PER_WORKER = 256
"""The number of items of an input without length that are in flight for each worker."""


class BsbPoolBackend(parallel.Parallel):  # type: ignore[misc, unused-ignore]
    """Runs the parallel calls of scinexus on the ranks of a communicator.

    All ranks enter its ``with`` block. On `root` the block gets the backend. The other ranks run
    calls until the root leaves the block; then their blocks get None. With one process, under
    ``python -m bsbpool.run``, and inside the block of a `PoolExecutor`, the backend need not be
    entered.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part; by default all.
    root : int
        The rank that submits.
    max_workers : int, optional
        The number of other ranks that run calls; by default all.

    Examples
    --------
    >>> with BsbPoolBackend() as backend:
    ...     if backend is not None:
    ...         print(list(backend.imap(abs, [-1, -2])))
    [1, 2]
    """

    def __init__(self, comm: Any = None, root: int = 0, *, max_workers: int | None = None) -> None:
        self._arguments = (comm, root, max_workers)
        self._make_executor()  # checks the arguments
        self._service = execution.service_for(None, comm)
        is_default = self._arguments == (None, 0, None)
        self._shared = shared_executor if is_default else SharedExecutor(self._make_executor)
        self._entered: PoolExecutor | None = None
        self._main: PoolExecutor | None = None  # the entered executor, on the root

    def _make_executor(self) -> PoolExecutor:
        comm, root, max_workers = self._arguments
        return PoolExecutor(comm, root, max_workers=max_workers)

    # ------------------------------------------------------------ life cycle

    def __enter__(self) -> BsbPoolBackend | None:
        """Enter, on all ranks; a worker runs calls here and then gets None."""
        if self._entered is not None:
            raise RuntimeError("This backend is already entered; leave its `with` block first")
        self._entered = executor = self._make_executor()
        try:
            self._main = executor.__enter__()
        except BaseException:
            self._entered = None
            raise
        return self if self._main is not None else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Shut the executor down and wait for all calls."""
        executor, self._entered, self._main = self._entered, None, None
        assert executor is not None
        executor.__exit__(kind, error, traceback)

    def _lease(self) -> Lease:
        if self._main is not None and not in_backend_thread():
            return Lease(self._main)
        return self._shared.lease()

    # ------------------------------------------------------------ parallel calls

    def imap(
        self,
        f: Callable[[Any], Any],
        s: Iterable[Any],
        max_workers: int | None = None,
        **kwargs: Any,
    ) -> Generator[Any]:
        """Yield the result of a function for each item, in the order of the items.

        Parameters
        ----------
        f : callable
            The function.
        s : iterable
            The items. Items of an input without length are read while results are taken.
        max_workers : int, optional
            Cannot be changed here: any other number than `get_size()` gives a warning.
        **kwargs
            ``chunksize``: the number of items that are sent together; by default it depends on
            the run times. ``if_serial``: what to do if there is one worker only: "raise", "warn",
            or "ignore", the default.

        Raises
        ------
        TypeError, ValueError
            When an argument is invalid; before the first result is asked for.
        """
        chunksize = self._check(max_workers, **kwargs)
        return self._results(f, s, chunksize, unordered=False)

    def as_completed(
        self,
        f: Callable[[Any], Any],
        s: Iterable[Any],
        max_workers: int | None = None,
        **kwargs: Any,
    ) -> Generator[Any]:
        """Yield the results of a function as they become ready; parameters as for `imap`."""
        chunksize = self._check(max_workers, **kwargs)
        return self._results(f, s, chunksize, unordered=True)

    def _results(
        self, f: Callable[[Any], Any], s: Iterable[Any], chunksize: int | None, unordered: bool
    ) -> Generator[Any]:
        with self._lease() as executor:
            size, buffersize = max(executor.num_workers, 1), None
            if not isinstance(s, Sized):
                buffersize = max(ITEMS_PER_WORKER, 2 * (chunksize or 1)) * size
            n_ranks = max(executor.comm_size, 1 + size)  # spawned workers are not in it
            call = _WorkerCall(f, (executor.root, size, n_ranks))
            yield from executor.map(
                call, s, chunksize=chunksize, buffersize=buffersize, unordered=unordered
            )

    def _check(
        self,
        max_workers: Any,
        chunksize: Any = None,
        if_serial: str = "ignore",
        **ignored: Any,  # scinexus's own backends ignore other options as well
    ) -> int | None:
        """Check the arguments of a parallel call; return the chunksize."""
        check_serial(if_serial, self.get_size())
        warn_of_max_workers(count("max_workers", max_workers), self.get_size())
        return count("chunksize", chunksize)

    # ------------------------------------------------------------ ranks

    def is_master_process(self) -> bool:
        """Whether this is the rank that submits."""
        if running.in_job:
            return False
        return self._entered_executor() is not None or self.get_rank() == self._arguments[1]

    def get_rank(self) -> int:
        """Return the number of this rank."""
        rank: int = self._service.get_rank()
        return rank

    def get_size(self) -> int:
        """Return the number of workers, at least 1."""
        if (executor := self._entered_executor()) is not None:  # it may have spawned workers
            return max(executor.num_workers, 1)
        others: int = self._service.get_size() - 1
        return max(min(others, self._arguments[2] or others), 1)

    def _entered_executor(self) -> PoolExecutor | None:
        """Return the executor in whose block this is called."""
        return self._main or entered_executor()

    def __reduce__(self) -> tuple[Any, ...]:
        # The executor stays here: a worker cannot submit calls.
        return _worker_backend, (self._arguments[1], self.get_size(), self._service.get_size())


class _WorkerBackend(BsbPoolBackend):
    """The backend inside calls; the worker runs the calls of nested maps itself.

    Parameters
    ----------
    root : int
        The rank that submitted the call.
    size : int
        The number of workers of that rank.
    n_ranks : int
        The number of ranks that take part.
    """

    def __init__(self, root: int, size: int, n_ranks: int) -> None:
        super().__init__()
        self._root, self._size, self._n_ranks = root, size, n_ranks

    def get_rank(self) -> int:
        """Return the number of this rank in the communicator of the submitting rank."""
        if not running.in_job:
            return super().get_rank()
        # The ranks of workers are counted from the root.
        return (worker_process.rank + self._root) % self._n_ranks

    def get_size(self) -> int:
        """Return the number of workers of the submitting rank."""
        return self._size

    def __reduce__(self) -> tuple[Any, ...]:
        return _worker_backend, (self._root, self._size, self._n_ranks)


@functools.cache
def _worker_backend(root: int, size: int, n_ranks: int) -> _WorkerBackend:
    return _WorkerBackend(root, size, n_ranks)


class _WorkerCall:
    """Calls a function on a worker, and sets scinexus's backend for the time of the call.

    Parameters
    ----------
    f : callable
        The function.
    ranks : tuple of int
        The arguments of `_WorkerBackend`.
    """

    def __init__(self, f: Callable[[Any], Any], ranks: tuple[int, int, int]) -> None:
        self._f, self._ranks = f, ranks

    def __reduce__(self) -> tuple[Any, ...]:
        return _WorkerCall, (portable(self._f), self._ranks)

    def __call__(self, item: Any) -> Any:
        if not running.in_job:  # a thread of the submitting process, whose backend is set
            return self._f(item)
        before = parallel.get_parallel_backend()
        parallel.set_parallel_backend(_worker_backend(*self._ranks))
        try:
            return self._f(item)
        finally:
            parallel.set_parallel_backend(before)
