"""What an executor and its views with options have in common: submitting calls and maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar, Unpack

from bsbpool import arguments, worker_data
from bsbpool._core.jobs.handle import OptionedFunction
from bsbpool.broadcasting import Broadcast, make_broadcast
from bsbpool.futures import argument_checks, call_options
from bsbpool.futures.backend import Backend
from bsbpool.futures.call_options import FUTURES, CallOptions, CallSettings
from bsbpool.futures.calls import Call
from bsbpool.futures.future import PoolFuture
from bsbpool.futures.map import MapOptions, start_map

P = ParamSpec("P")
T = TypeVar("T")


class BaseExecutor(Executor):
    """Submits calls to a backend, with the options of this executor or view."""

    _call_options: dict[str, Any]
    _call_settings: CallSettings
    _backend: Backend | None = None

    def _get_backend(self) -> Backend:
        """Return the backend that runs the calls; open it first if needed."""
        raise NotImplementedError

    def _set_options(self, options: dict[str, Any]) -> None:
        """Set the options of all calls, which were checked."""
        self._call_options = options
        self._call_settings = call_options.settings_of(options)

    def __reduce__(self) -> str:
        raise TypeError(
            f"cannot pickle {type(self).__name__!r} object: an executor can only be used in the "
            "process that opened it"
        )

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> PoolFuture[T]:
        """Submit the call ``fn(*args, **kwargs)``.

        If the function or the arguments cannot be pickled, the future has the error. All arguments
        are passed to the function; for options of the call see `options`.

        Parameters
        ----------
        fn : callable
            The function that a worker calls.
        *args, **kwargs : object
            Its arguments.

        Returns
        -------
        PoolFuture
            A `concurrent.futures.Future` with the result of the call.

        Raises
        ------
        RuntimeError
            After `shutdown`.
        BrokenExecutor
            When the initializer failed or the pool of the executor has ended.

        Examples
        --------
        >>> from bsbpool.futures import PoolExecutor
        >>> with PoolExecutor() as executor:
        ...     executor.submit(pow, 2, 5).result()
        32
        """
        backend = self._backend or self._get_backend()
        future: PoolFuture[T] = PoolFuture(backend)
        function: Any = fn
        if isinstance(function, OptionedFunction):
            own = call_options.of_function(function)
            settings = call_options.settings_of(own | self._call_options)
        elif self._call_options:
            settings = self._call_settings
        else:
            backend.submit(future, fn, args, kwargs)
            if backend.progress is not None:
                backend.progress.submitted(future, fn)
            return future
        deps, cache_items, future.call_options, special = settings
        backend.queue(Call(future, fn, args, kwargs, deps, cache_items, special))
        if backend.progress is not None:
            backend.progress.submitted(future, self._call_options.get("name", fn))
        return future

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[T]:
        """Call a function with each item on the workers; return an iterator over the results.

        Parameters
        ----------
        fn : callable
            Called with one item of each iterable.
        *iterables : iterable
            The items. They are read immediately, unless `buffersize` is given.
        timeout : float, optional
            Seconds from this call after which the iterator raises a TimeoutError.
        chunksize : int, optional
            The number of items that are sent together. By default it depends on the run times: a
            chunk is a millisecond of work, or less if that keeps more workers busy.
        buffersize : int, optional
            The largest number of items that were read and whose results were not taken yet. Items
            are then read when results are taken.
        unordered : bool
            Whether results may come in the order in which they are ready.

        Returns
        -------
        iterator
            A generator. Closing it cancels calls that have not started. The error of a call is
            raised after the results of the items before it.

        Examples
        --------
        >>> from bsbpool.futures import PoolExecutor
        >>> with PoolExecutor() as executor:
        ...     list(executor.map(pow, [2, 3], [5, 2]))
        [32, 9]
        """
        star = len(iterables) != 1
        items = zip(*iterables, strict=False) if star else iterables[0]
        return self._map(fn, items, star, timeout, chunksize, buffersize, unordered)

    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[T]:
        """Call ``fn(*args)`` for each `args` of an iterable; other parameters as for `map`.

        Examples
        --------
        >>> from bsbpool.futures import PoolExecutor
        >>> with PoolExecutor() as executor:
        ...     list(executor.starmap(pow, [(2, 5), (3, 2)]))
        [32, 9]
        """
        return self._map(fn, iterable, True, timeout, chunksize, buffersize, unordered)

    def _map(
        self,
        fn: Callable[..., T],
        items: Iterable[Any],
        star: bool,
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        unordered: bool,
    ) -> Iterator[T]:
        options = MapOptions(
            star,
            None if timeout is None else arguments.seconds("timeout", timeout),
            argument_checks.count("chunksize", chunksize),
            argument_checks.count("buffersize", buffersize),
            arguments.flag("unordered", unordered),
            self._call_settings,
        )
        backend = self._get_backend()
        if backend.journal is not None:
            from bsbpool.futures.journaled_map import start_journaled_map

            return start_journaled_map(self, fn, items, options)
        return start_map(backend, fn, items, options)

    def run_on_all(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> dict[int, PoolFuture[T]]:
        """Submit the call ``fn(*args, **kwargs)`` once for each worker; return futures by rank.

        Examples
        --------
        >>> import os
        >>> from bsbpool import PoolExecutor
        >>> with PoolExecutor() as executor:
        ...     found = executor.run_on_all(os.getenv, "HOME", "none")
        ...     len(found) == executor.num_workers
        True
        """
        ranks = self._get_backend().worker_ranks
        views = {rank: self.options(targets=[rank], journaled=False) for rank in ranks}
        return {rank: view.submit(fn, *args, **kwargs) for rank, view in views.items()}

    def push(self, values: Mapping[str, Any]) -> dict[int, PoolFuture[None]]:
        """Set variables on each worker, which `bsbpool.worker_data.pushed` has there.

        Parameters
        ----------
        values : mapping of str to object
            The variables; their arrays are read-only on the workers, as those of `broadcast`.

        Returns
        -------
        dict of int to PoolFuture
            The futures by rank. Name them in `deps` of the calls that need the variables.

        Examples
        --------
        >>> from bsbpool import PoolExecutor
        >>> with PoolExecutor() as executor:
        ...     ready = executor.push({"factor": 2})
        ...     found = executor.options(deps=ready.values()).pull("factor")
        ...     {future.result()["factor"] for future in found.values()}
        {2}
        """
        reference: Any = self.broadcast(dict(values))  # calls get the dict itself
        return self.run_on_all(worker_data.set_variables, reference)

    def pull(self, *names: str) -> dict[int, PoolFuture[dict[str, Any]]]:
        """Get variables of `push` from each worker: futures by rank, whose results are dicts."""
        return self.run_on_all(worker_data.get_variables, *names)

    def broadcast(self, obj: T) -> Broadcast[T]:
        """Return a reference to a copy of an object, as an argument of many calls of `submit`.

        The copy is sent to each machine once. Its ranks share the memory of the arrays, which calls
        cannot change. The copies are dropped when these calls have ended and the reference is not
        used any more.

        Examples
        --------
        >>> from bsbpool import PoolExecutor
        >>> with PoolExecutor() as executor:
        ...     table = executor.broadcast({"a": 1, "b": 2})
        ...     futures = [executor.submit(dict.get, table, key) for key in "ab"]
        ...     [future.result() for future in futures]
        [1, 2]
        """
        return make_broadcast(obj, True)

    def options(self, **options: Unpack[CallOptions]) -> BaseExecutor:
        """Return a view of this executor that applies options to its calls.

        Parameters
        ----------
        deps : iterable of futures
            Futures of this executor. A call starts when all of them have results. If one fails or
            is cancelled, the call fails with a `JobCancelledError`.
        cache_items : list
            The cached functions or ids that the calls need, see `bsbpool.pool_cache`.
        name : str
            The name of the calls in errors.
        submitter : object
            The submitter of the calls.
        **options
            Those of jobs, see `bsbpool.options.JobOptions`, with futures in place of jobs; without
            `keep`. In a `map` they apply to chunks, which have one item unless `chunksize` is
            given. With one process, `targets` and `follow` have no effect.

        Examples
        --------
        >>> from bsbpool.futures import PoolExecutor
        >>> with PoolExecutor() as executor:
        ...     first = executor.submit(pow, 2, 2)
        ...     executor.options(deps=[first], name="second").submit(pow, 3, 2).result()
        9
        """
        checked = argument_checks.options(dict(options))
        return ExecutorView(self, {**self._call_options, **checked})


class ExecutorView(BaseExecutor):
    """A view of an executor that applies options to its calls.

    Parameters
    ----------
    executor : BaseExecutor
        The executor.
    call_options : dict
        The options.
    """

    def __init__(self, executor: BaseExecutor, call_options: dict[str, Any]) -> None:
        self._executor = executor
        named = {
            name: argument_checks.dependencies(call_options[name], self._get_backend(), name)
            for name in FUTURES
            if call_options.get(name) is not None
        }
        self._set_options(call_options | named)

    def _get_backend(self) -> Backend:
        return self._executor._get_backend()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shut the executor down, see `PoolExecutor.shutdown`."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)
