"""The executor: submit calls here, have them run by other ranks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from bsbpool import arguments, execution
from bsbpool.futures import checks, registry
from bsbpool.futures.backend import Backend, Call, check_time, is_of_a_backend
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.mapping import Plan, stream
from bsbpool.interrupts import raising_on_sigterm
from bsbpool.running import running

_entered: list[PoolExecutor] = []


def entered() -> PoolExecutor | None:
    """Return the executor whose ``with`` block this rank is in as the root, the latest of them.

    None for a thread that runs calls of one: what such a call waits for must be run elsewhere.
    """
    return _entered[-1] if _entered and not is_of_a_backend() else None


class Calls(Executor):
    """What takes calls: an executor, or a view of one with options."""

    _call_options: dict[str, Any]
    _backend: Backend | None = None

    def _get_backend(self) -> Backend:
        raise NotImplementedError

    def __reduce__(self) -> str:
        raise TypeError(
            f"cannot pickle {type(self).__name__!r} object: an executor can only be used in the "
            "process that opened it"
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> PoolFuture:
        """Have ``fn(*args, **kwargs)`` called on a worker.

        What cannot be pickled is told by the future. All arguments are the function's; for
        options of the executor itself see `options`.

        Returns
        -------
        PoolFuture
            A `concurrent.futures.Future`.

        Examples
        --------
        >>> with PoolExecutor() as executor:
        ...     executor.submit(pow, 2, 5).result()
        32
        """
        backend = self._backend or self._get_backend()
        future = PoolFuture(backend)
        if not self._call_options:
            backend.submit(future, fn, args, kwargs)
            return future
        call_options = dict(self._call_options)
        call = Call(future, fn, args, kwargs, call_options.pop("deps", ()), call_options.pop("cache_items", None))
        future.call_options = call_options
        backend.queue(call)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Call a function with each item on the workers; return an iterator over the results.

        Parameters
        ----------
        fn : callable
            Called with one item of each of the iterables.
        *iterables : iterable
            The items. They are read at once, unless there is a `buffersize`.
        timeout : float, optional
            Seconds from now after which the iterator raises a TimeoutError.
        chunksize : int, optional
            How many items travel together. By default the run times decide: a millisecond of
            work, while that keeps all workers busy.
        buffersize : int, optional
            How many items may be on their way, from being read to being taken as a result.
            Items are then read when results are taken.
        unordered : bool
            Whether results may come in the order in which they are ready.

        Returns
        -------
        generator
            When it is closed, what has not begun is cancelled. An error of a call is raised
            after the results of the items before.

        Examples
        --------
        >>> with PoolExecutor() as executor:
        ...     list(executor.map(pow, [2, 3], [5, 2]))
        [32, 9]
        """
        star = len(iterables) != 1
        items = zip(*iterables, strict=False) if star else iterables[0]
        return self._stream(fn, items, star, timeout, chunksize, buffersize, unordered)

    def starmap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Call ``fn(*args)`` for each `args` of an iterable; else as `map`.

        Examples
        --------
        >>> with PoolExecutor() as executor:
        ...     list(executor.starmap(pow, [(2, 5), (3, 2)]))
        [32, 9]
        """
        return self._stream(fn, iterable, True, timeout, chunksize, buffersize, unordered)

    def _stream(
        self,
        fn: Callable[..., Any],
        items: Iterable[Any],
        star: bool,
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        unordered: bool,
    ) -> Iterator[Any]:
        plan = Plan(
            star,
            None if timeout is None else arguments.seconds("timeout", timeout),
            checks.count("chunksize", chunksize),
            checks.count("buffersize", buffersize),
            arguments.flag("unordered", unordered),
            self._call_options or None,
        )
        return stream(self._get_backend(), fn, items, plan)

    def options(self, **options: Any) -> Calls:
        """Return a view of this executor whose calls have options.

        Parameters
        ----------
        deps : iterable of futures
            Futures of this executor that must end well before a call begins. When one does
            not, the call fails with a `JobCancelledError`.
        cache_items : list
            The cached functions or ids that the calls need, see `bsbpool.pool_cache`.
        name : str
            How errors name the calls.
        submitter : object
            Whose calls they are.

        Examples
        --------
        >>> with PoolExecutor() as executor:
        ...     first = executor.submit(pow, 2, 2)
        ...     executor.options(deps=[first], name="second").submit(pow, 3, 2).result()
        9
        """
        return View(self, {**self._call_options, **checks.options(options)})


class View(Calls):
    """An executor with options."""

    def __init__(self, executor: Calls, call_options: dict[str, Any]) -> None:
        self._executor = executor
        deps = call_options.get("deps")
        if deps is not None:
            call_options = {**call_options, "deps": checks.dependencies(deps, executor._get_backend())}
        self._call_options = call_options

    def _get_backend(self) -> Backend:
        return self._executor._get_backend()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor itself down."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


class PoolExecutor(Calls):
    """Runs calls on the ranks of a communicator.

    All ranks enter its ``with`` block. On `root` that gives the executor. The others run calls
    until the root leaves the block, and are given None. With one process, a thread of it runs the
    calls. The same executor can be entered again.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm, optional
        The ranks that take part; by default all.
    root : int
        The rank that submits.
    max_workers : int, optional
        How many of the other ranks run calls; by default all.
    initializer : callable, optional
        Called on each worker before its first call, once for each ``with`` block. When it
        raises, the executor is broken.
    initargs : tuple
        Its arguments.
    **options
        As of `options`, for all calls; without `deps`.

    Raises
    ------
    TypeError, ValueError
        When an argument is not of its kind; before any rank waits for another.

    Examples
    --------
    >>> with PoolExecutor() as executor:
    ...     if executor is not None:  # the root
    ...         futures = [executor.submit(pow, n, 2) for n in range(3)]
    ...         print([future.result() for future in futures])
    [0, 1, 4]
    """

    def __init__(
        self,
        comm: Any = None,
        root: int = 0,
        *,
        max_workers: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        **options: Any,
    ) -> None:
        self._root = checks.communicator(comm, root)
        self._wanted = checks.count("max_workers", max_workers)
        self._initializer, self._initargs = checks.initializer(initializer, initargs)
        self._call_options = checks.options_of_all(options, type(self).__name__)
        self._comm = comm
        self._service = execution.service_for(None, comm)
        checks.rank(self._root, self._service.get_size())
        self._entered: ExitStack | None = None
        self._backend = None
        self._shut = False

    # ------------------------------------------------------------ life cycle

    def __enter__(self) -> PoolExecutor | None:  # type: ignore[override]
        """Begin, on all ranks; return None on those that worked, once that is over."""
        if self._entered is not None:
            raise RuntimeError("This executor is already entered; leave its `with` block first")
        if self._backend is not None and not self._shut:  # calls came before the `with`
            self._entered = ExitStack()
            return self._show()
        self._entered = stack = ExitStack()
        try:
            stack.enter_context(raising_on_sigterm())
            self._shut = False
            self._backend = registry.gather(self._description(), collective=True)
        except BaseException:
            stack.close()
            self._entered = None
            raise
        return self._show() if self._backend is not None else None

    def _show(self) -> PoolExecutor:
        """Let `entered` find this executor until its block ends."""
        assert self._entered is not None
        _entered.append(self)
        self._entered.callback(_entered.remove, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """End, when all calls have; at once when the program is told to end."""
        inside = running.inside_job if self._backend is None else self._backend.is_here()
        if self._entered is None or inside:
            raise RuntimeError(
                "The `with` block of the executor cannot end here: it has not begun, has already "
                "ended, or this is a call or a callback of the executor. To take no more calls "
                "use executor.shutdown()."
            )
        stack, self._entered = self._entered, None
        assert stack is not None
        with stack:
            if self._backend is None:
                return None
            if error is not None and not isinstance(error, Exception):
                self._backend.abandon()  # nobody wants to wait, for hours maybe
            try:
                self.shutdown()
            except BaseException:
                self._backend.abandon()
                raise
        return None

    def _description(self) -> registry.Description:
        return registry.Description(
            self._service,
            self._root,
            self._wanted,
            self._initializer,
            self._initargs,
            self._comm is None,
        )

    def _get_backend(self) -> Backend:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._backend is None:
            check_time()
            self._backend = registry.gather(self._description(), collective=False)
            assert self._backend is not None
            # Without a `with`, its end is that of the executor itself.
            weakref.finalize(self, self._backend.drop).atexit = False
        return self._backend

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls.

        Parameters
        ----------
        wait : bool
            Whether to return only when all calls have ended.
        cancel_futures : bool
            Whether to cancel those that have not begun.
        """
        wait = arguments.flag("wait", wait)
        cancel_futures = arguments.flag("cancel_futures", cancel_futures)
        self._shut = True
        if self._backend is not None:
            self._backend.close(cancel_futures)
            if wait:
                self._backend.join()

    # ------------------------------------------------------------ asking

    @property
    def num_workers(self) -> int:
        """How many ranks run calls; 0 after the end, and when the executor is broken."""
        backend = None if self._shut else self._get_backend()
        return 0 if backend is None or backend.broken is not None else backend.n_workers

    @property
    def _max_workers(self) -> int:
        # Other people's code looks here, as at an executor of the standard library.
        return self._get_backend().n_workers if not self._shut else self._wanted or 1

    def bootup(self, wait: bool = True) -> PoolExecutor:
        """Make sure that there are workers; return the executor.

        Parameters
        ----------
        wait : bool
            Accepted for users of mpi4py: workers are there at once, or soon.
        """
        self._get_backend()
        return self
