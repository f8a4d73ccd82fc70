"""The executor: it submits calls on one rank, and the other ranks run them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from bsbpool import arguments, execution
from bsbpool._typing import LazyType
from bsbpool.futures import argument_checks, factory
from bsbpool.futures.backend import Backend, check_not_exiting, in_backend_thread
from bsbpool.futures.base_executor import BaseExecutor
from bsbpool.futures.call_options import DefaultOptions
from bsbpool.process import raising_on_sigterm, running
from bsbpool.settings import LeaderChoice, PoolSettings

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

    from bsbpool.futures.call_journal import CallJournal
    from bsbpool.journal.options import Journal
    from bsbpool.listeners.counting import CountingListener
    from bsbpool.resources import Declaration
else:
    Journal = LazyType("bsbpool.journal.options", "Journal")
    Declaration = LazyType("bsbpool.resources", "Declaration")
    CountingListener = LazyType("bsbpool.listeners.counting", "CountingListener")
    Intracomm = LazyType("mpi4py.MPI", "Intracomm")

_entered_executors: list[PoolExecutor] = []


def entered_executor() -> PoolExecutor | None:
    """Return the executor whose ``with`` block this rank entered last as the root.

    Returns None in the thread of a backend: a call that submits to its own executor and waits for
    the result would never end.
    """
    return _entered_executors[-1] if _entered_executors and not in_backend_thread() else None


def backend_of(executor: PoolExecutor) -> Backend:
    """Return the backend of an executor; open it first if needed. For adapters."""
    return executor._get_backend()


class PoolExecutor(BaseExecutor):
    """Runs calls on the ranks of a communicator.

    All ranks enter its ``with`` block. On `root` the block gets the executor. The other ranks run
    calls until the root leaves the block; then their blocks get None. With one process, a thread
    runs the calls. An executor can be entered again after its block has ended.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part; by default all.
    root : int
        The rank that submits.
    max_workers : int, optional
        The number of ranks that run calls; by default all others. The root is the last of them.
    initializer : callable, optional
        Called on each worker before its first call, once for each ``with`` block. If it raises,
        the executor is broken.
    initargs : tuple
        Its arguments.
    timestamps : bool
        Whether the times, ranks and sizes of calls are noted, see `PoolFuture.metadata`.
    resources : dict, optional
        What the ranks have of each resource, see `create_job_pool`.
    prefetch : bool
        Whether quick calls are sent before the worker has ended the one before. Without, each
        worker has one call, and the next one goes to the worker that was idle longest.
    main_works : bool
        Whether the root runs calls, too, in another thread of its process. With one process this
        has no effect. The initializer is called there as well.
    leaders : "auto", "node", int or None
        Which ranks relay the messages between the root and the workers, see `create_job_pool`.
    progress : bool or listener
        Whether to show the progress of all calls and maps until the executor is shut down; or a
        `TerminalListener`, `LogListener` or `TqdmListener` of `bsbpool.listeners` that shows it.
    journal : str, path-like or bsbpool.journal.Journal
        A file on the root that records each call that ends; the same program, started again, runs
        only the others. See docs/resuming.md. The items of maps are then sent one by one.
    **options
        Options for all calls, see `options`; without `resources` and those that name futures.

    Attributes
    ----------
    root : int
        The rank that submits.
    comm_size : int
        The number of ranks of the communicator.

    Raises
    ------
    TypeError, ValueError
        When an argument is invalid; before any rank waits for another.

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
        comm: Intracomm | None = None,
        root: int = 0,
        *,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        timestamps: bool = False,
        resources: Declaration | None = None,
        prefetch: bool = True,
        main_works: bool = False,
        leaders: LeaderChoice = "auto",
        progress: bool | CountingListener = False,
        journal: str | PathLike[str] | Journal | None = None,
        **options: Unpack[DefaultOptions],
    ) -> None:
        self.root = argument_checks.communicator(comm, root)
        max_workers = argument_checks.count("max_workers", max_workers)
        initializer, initargs = argument_checks.initializer(initializer, initargs)
        self._set_options(argument_checks.default_options(dict(options), type(self).__name__))
        self._service = execution.service_for(None, comm)
        self.comm_size: int = self._service.get_size()
        argument_checks.rank(self.root, self.comm_size)
        pool = PoolSettings(
            timestamps=timestamps,
            resources=resources,
            prefetch=prefetch,
            main_works=main_works,
            leaders=leaders,
        )
        self._settings = factory.ExecutorSettings(
            self._service,
            self.root,
            max_workers,
            initializer,
            initargs,
            comm is None,
            pool,
        )
        if progress is not False:
            from bsbpool.futures.call_progress import check_progress

            check_progress(progress)
        self._progress = progress
        self._journal: CallJournal | None = None
        self._journal_options: Journal | None = None
        if journal is not None:
            from bsbpool.journal.options import check_journal

            self._journal_options = check_journal(journal)
        self._entered: ExitStack | None = None
        self._backend = None
        self._shut_down = False

    # ------------------------------------------------------------ life cycle

    def __enter__(self) -> PoolExecutor | None:  # type: ignore[override]
        """Enter, on all ranks; a worker runs calls here and then gets None."""
        if self._entered is not None:
            raise RuntimeError("This executor is already entered; leave its `with` block first")
        if self._backend is not None and not self._shut_down:  # opened by an earlier call
            self._entered = ExitStack()
            return self._register()
        self._entered = stack = ExitStack()
        try:
            stack.enter_context(raising_on_sigterm())
            self._shut_down = False
            self._backend = self._open_backend(collective=True)
        except BaseException:
            stack.close()
            self._entered = None
            raise
        return self._register() if self._backend is not None else None

    def _register(self) -> PoolExecutor:
        """Make `entered_executor` return this executor until its block ends."""
        assert self._entered is not None
        _entered_executors.append(self)
        self._entered.callback(_entered_executors.remove, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Shut down and wait for all calls; do not wait after a signal or SystemExit."""
        inside = running.in_job if self._backend is None else self._backend.is_current_thread()
        if self._entered is None:
            raise RuntimeError(
                "The `with` block of this executor has not begun or has already ended, so it "
                "cannot end now"
            )
        if inside:
            raise RuntimeError(
                "The `with` block of an executor cannot end in a call or a callback of the "
                "executor; to accept no more calls use executor.shutdown(wait=False)"
            )
        stack, self._entered = self._entered, None
        assert stack is not None
        with stack:
            if self._backend is None:
                return None
            if error is not None and not isinstance(error, Exception):
                self._backend.abort()  # the program must end now, calls may take hours
            try:
                self.shutdown()
            except BaseException:
                self._backend.abort()
                raise
        return None

    def _get_backend(self) -> Backend:
        if self._shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._backend is None:
            check_not_exiting()
            self._backend = self._open_backend(collective=False)
            assert self._backend is not None
            # Without a `with` block, the backend lives as long as the executor.
            weakref.finalize(self, self._backend.close_soon).atexit = False
        return self._backend

    def _open_backend(self, collective: bool) -> Backend | None:
        backend = factory.open_backend(self._settings, collective)
        if backend is not None and self._journal_options is not None:
            self._open_journal(backend, self._journal_options)
        if backend is not None and self._progress is not False:
            from bsbpool.futures.call_progress import make_progress

            progress = make_progress(self._progress)
            if progress is not None:
                backend.show_progress(progress)
        return backend

    def _open_journal(self, backend: Backend, options: Journal) -> None:
        from bsbpool.futures.call_journal import CallJournal

        try:
            self._journal = CallJournal(options)
        except BaseException:
            backend.close()
            raise
        self._journal.attach(backend)
        weakref.finalize(self, self._journal.close_soon)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls.

        Parameters
        ----------
        wait : bool
            Whether to return only when all calls have ended.
        cancel_futures : bool
            Whether to cancel calls that have not started.

        Raises
        ------
        JournalError
            If the journal could not be written, unless another error is being handled.
        """
        wait = arguments.flag("wait", wait)
        cancel_futures = arguments.flag("cancel_futures", cancel_futures)
        self._shut_down = True
        if self._backend is not None:
            self._backend.close(cancel_futures)
            if wait:
                self._backend.join()
        if self._journal is not None:
            self._journal.close()

    def bootup(self, wait: bool = True) -> PoolExecutor:
        """Make sure that there are workers; return the executor.

        Parameters
        ----------
        wait : bool
            Ignored; accepted for programs that were written for mpi4py.
        """
        self._get_backend()
        return self

    # ------------------------------------------------------------ properties

    @property
    def num_workers(self) -> int:
        """The number of workers; 0 after the shutdown and when the executor is broken."""
        backend = None if self._shut_down else self._get_backend()
        return 0 if backend is None or backend.broken is not None else backend.n_workers

    @property
    def _max_workers(self) -> int:
        # Other packages read this attribute of the standard library's executors.
        if self._shut_down:
            return self._settings.max_workers or 1
        return self._get_backend().n_workers
