"""Apps of scinexus on the ranks of a communicator.

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
import numbers
import warnings
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
from bsbpool.futures.backend import is_of_a_backend
from bsbpool.futures.chunks import here
from bsbpool.futures.executor import entered
from bsbpool.integrations._shared_executor import Lease, SharedExecutor, shared_executor
from bsbpool.running import running
from bsbpool.serialization import portable

IF_SERIAL = ("raise", "ignore", "warn")
ITEMS_A_WORKER = 256
"""How many items of an input without length are on their way, for each worker."""


class BsbPoolBackend(parallel.Parallel):  # type: ignore[misc, unused-ignore]
    """Runs what scinexus runs in parallel on the ranks of a communicator.

    All ranks enter its ``with`` block. On `root` that gives the backend. The others run calls until
    the root leaves the block, and are given None. With one process, under ``python -m
    bsbpool.run``, and inside the block of a `PoolExecutor` it needs no block of its own.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part; by default all.
    root : int
        The rank that submits.
    max_workers : int, optional
        How many of the other ranks run calls; by default all.

    Examples
    --------
    >>> with BsbPoolBackend() as backend:
    ...     if backend is not None:
    ...         print(list(backend.imap(abs, [-1, -2])))
    [1, 2]
    """

    def __init__(self, comm: Any = None, root: int = 0, *, max_workers: int | None = None) -> None:
        self._arguments = (comm, root, max_workers)
        self._make()  # checks them
        self._service = execution.service_for(None, comm)
        self._shared_executor = shared_executor if self._arguments == (None, 0, None) else SharedExecutor(self._make)
        self._entered: PoolExecutor | None = None
        self._main: PoolExecutor | None = None  # the same, where it takes calls

    def _make(self) -> PoolExecutor:
        comm, root, max_workers = self._arguments
        return PoolExecutor(comm, root, max_workers=max_workers)

    # ------------------------------------------------------------ life cycle

    def __enter__(self) -> BsbPoolBackend | None:
        """Begin, on all ranks; return None on those that worked, once that is over."""
        if self._entered is not None:
            raise RuntimeError("this backend has been entered; leave it before you enter it again")
        self._entered = executor = self._make()
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
        """End, when all calls have."""
        executor, self._entered, self._main = self._entered, None, None
        assert executor is not None
        executor.__exit__(kind, error, traceback)

    def _acquire_lease(self) -> Lease:
        if self._main is not None and not is_of_a_backend():
            return Lease(self._main, None)
        return self._shared_executor.lease()

    # ------------------------------------------------------------ running

    def imap(
        self,
        f: Callable[[Any], Any],
        s: Iterable[Any],
        max_workers: int | None = None,
        **kwargs: Any,
    ) -> Generator[Any]:
        """Yield what a function returns for each item, in the order of the items.

        Parameters
        ----------
        f : callable
            The function.
        s : iterable
            The items. Those of an input without length are read while results are taken.
        max_workers : int, optional
            Cannot be changed here: a number other than `get_size()` gives a warning.
        **kwargs
            ``chunksize``: how many items travel together; by default their run times decide.
            ``if_serial``: what to do when there is one worker only: "raise", "warn", or
            "ignore", the default.

        Raises
        ------
        TypeError, ValueError
            When an argument is not of its kind; before the first result is asked for.
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
        """Yield what a function returns for each item, in the order in which that is ready.

        The arguments are those of `imap`.
        """
        chunksize = self._check(max_workers, **kwargs)
        return self._results(f, s, chunksize, unordered=True)

    def _results(
        self, f: Callable[[Any], Any], s: Iterable[Any], chunksize: int | None, unordered: bool
    ) -> Generator[Any]:
        with self._acquire_lease() as executor:
            size, buffersize = max(executor.num_workers, 1), None
            if not isinstance(s, Sized):
                buffersize = max(ITEMS_A_WORKER, 2 * (chunksize or 1)) * size
            ranks = max(executor._service.get_size(), 1 + size)  # spawned ones are none of it
            inside = _Inside(f, (executor._root, size, ranks))
            yield from executor.map(
                inside, s, chunksize=chunksize, buffersize=buffersize, unordered=unordered
            )

    def _check(
        self,
        max_workers: Any,
        chunksize: Any = None,
        if_serial: str = "ignore",
        **ignored: Any,  # as scinexus's own backends do
    ) -> int | None:
        """Check what was asked for; return the chunksize."""
        _check_serial(if_serial, self.get_size())
        wanted = _count("max_workers", max_workers)
        if wanted not in (None, size := self.get_size()):
            warnings.warn(
                f"max_workers ({wanted}) is not the number of workers, {size}. That number is set "
                "when mpiexec starts the ranks, so this request is not used.",
                UserWarning,
                stacklevel=3,
            )
        return _count("chunksize", chunksize)

    # ------------------------------------------------------------ asking

    def is_master_process(self) -> bool:
        """Whether this is the rank that submits."""
        if running.inside_job:
            return False
        return self._at_hand() is not None or self.get_rank() == self._arguments[1]

    def get_rank(self) -> int:
        """Return the number of this rank."""
        rank: int = self._service.get_rank()
        return rank

    def get_size(self) -> int:
        """Return how many workers there are, at least 1."""
        if (executor := self._at_hand()) is not None:  # it may have spawned them
            return max(executor.num_workers, 1)
        others: int = self._service.get_size() - 1
        return max(min(others, self._arguments[2] or others), 1)

    def _at_hand(self) -> PoolExecutor | None:
        """Return the executor in whose block this is."""
        return self._main or entered()

    def __reduce__(self) -> tuple[Any, ...]:
        # What reaches a worker finds no workers there.
        return _of_worker, (self._arguments[1], self.get_size(), self._service.get_size())


class _OfWorker(BsbPoolBackend):
    """The backend inside of calls; what it maps, the worker calls itself.

    Parameters
    ----------
    root : int
        The rank that submitted the call.
    size : int
        How many workers that rank has.
    ranks : int
        How many ranks take part.
    """

    def __init__(self, root: int, size: int, ranks: int) -> None:
        super().__init__()
        self._root, self._size, self._ranks = root, size, ranks

    def get_rank(self) -> int:
        """Return the number that this rank has among those of the rank that submitted."""
        if not running.inside_job:
            return super().get_rank()
        return (here.rank + self._root) % self._ranks  # those who serve count from the root

    def get_size(self) -> int:
        """Return how many workers the rank that submitted has."""
        return self._size

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_worker, (self._root, self._size, self._ranks)


@functools.cache
def _of_worker(root: int, size: int, ranks: int) -> _OfWorker:
    return _OfWorker(root, size, ranks)


class _Inside:
    """Calls a function on a worker, where scinexus then has a backend for what that calls."""

    def __init__(self, f: Callable[[Any], Any], of_whom: tuple[int, int, int]) -> None:
        self._f, self._of_whom = f, of_whom

    def __reduce__(self) -> tuple[Any, ...]:
        return _Inside, (portable(self._f), self._of_whom)

    def __call__(self, item: Any) -> Any:
        if not running.inside_job:  # a thread of the process that submits, which has chosen
            return self._f(item)
        before = parallel.get_parallel_backend()
        parallel.set_parallel_backend(_of_worker(*self._of_whom))
        try:
            return self._f(item)
        finally:
            parallel.set_parallel_backend(before)


def _count(name: str, value: Any) -> int | None:
    # Users match the beginnings of these messages; they are those of scinexus's own backends.
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int or None, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} ({value}) must be greater than 0")
    return int(value)


def _check_serial(if_serial: Any, n_workers: int) -> None:
    choice = if_serial.lower() if isinstance(if_serial, str) else if_serial
    if choice not in IF_SERIAL:
        choices = ", ".join(map(repr, IF_SERIAL))
        raise ValueError(f"if_serial: invalid choice {if_serial!r}; it must be one of {choices}")
    if n_workers > 1 or choice == "ignore":
        return
    told = (
        "Execution in serial: there is one worker, so the calls run one after the other. Start the "
        "program with `mpiexec -n 3`, or more, for several workers."
    )
    if choice == "raise":
        raise RuntimeError(told)
    warnings.warn(told, UserWarning, stacklevel=4)
