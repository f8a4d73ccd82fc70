"""A main rank that runs jobs, too: one thread runs them, and another one schedules.

Both threads use the same loops as ranks do. Their messages pass through a `LocalLink`, so the jobs
of this rank are pickled and scheduled like those of others, and only one of the threads calls MPI.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bsbpool._core.comm.channel import Channel
from bsbpool._core.comm.local_link import LocalLink
from bsbpool.execution.held_signals import HeldSignals
from bsbpool.execution.worker import WorkerRun
from bsbpool.process import is_from_signal, marking_signals, running
from bsbpool.run_context import RunContext

SWITCH_SECONDS = 0.0002
"""How long the interpreter lets a job run on while the other thread waits to schedule."""
SECONDS_BETWEEN_SIGNALS = 0.05

MakeRun = Callable[[RunContext, Channel], WorkerRun]


def check_thread_level() -> None:
    """Raise RuntimeError if MPI was initialised for one thread only."""
    from mpi4py import MPI

    if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise RuntimeError(
            "main_works=True needs an MPI that was initialised for several threads: rank 0 "
            "schedules in a second thread. Let mpi4py initialise MPI, set mpi4py.rc.thread_level "
            '= "multiple" before mpi4py.MPI is imported, or leave main_works out.'
        )


class LocalRun(WorkerRun):
    """The run of the worker in the process of the main rank."""

    def _ends_run(self, error: BaseException) -> bool:
        return is_from_signal(error)


class LocalWorker:
    """Runs jobs of a pool on its main rank, beside the thread that schedules them.

    Parameters
    ----------
    context : RunContext
        What the run uses of the pool.
    channel : Channel
        The channel of the main rank.
    run_id : int
        The run of the pool on this channel.
    make_run : callable
        Makes the run of the worker.
    beside : bool
        Whether jobs run in a new thread and the calling one schedules, instead of the reverse.
    """

    def __init__(
        self,
        context: RunContext,
        channel: Channel,
        run_id: int,
        make_run: MakeRun = LocalRun,
        beside: bool = False,
    ) -> None:
        self._context = context
        self._channel = channel
        self._run_id = run_id
        self._make_run = make_run
        self._beside = beside
        self._link = channel.local_link or LocalLink(channel)
        self._error: BaseException | None = None  # why the thread of the jobs has ended

    def check(self) -> None:
        """Raise the error that has ended the thread of the jobs, in the thread that schedules."""
        if self._error is not None:
            raise self._error

    def execute(self, dispatch: Callable[[], None]) -> None:
        """Run jobs while `dispatch` schedules them.

        Raises
        ------
        BaseException
            The error of `dispatch`. An error of the thread of the jobs, such as the
            KeyboardInterrupt of Ctrl-C, first ends `dispatch`.
        """
        try:
            run = self._make_run(self._context, self._link.open(self._run_id))
        except RuntimeError as error:  # another pool executes
            self._error = error  # in case that `dispatch` does not raise it by itself
            dispatch()
            return
        if self._beside:
            self._run_beside(dispatch, run)
        else:
            self._run_here(dispatch, run)

    def _run_here(self, dispatch: Callable[[], None], run: WorkerRun) -> None:
        """Run jobs in the calling thread, and call `dispatch` in a new one."""
        errors: list[BaseException] = []
        ended = threading.Event()

        def dispatch_here() -> None:
            try:
                with self._outside_jobs():
                    dispatch()
            except BaseException as error:
                errors.append(error)
            ended.set()

        with HeldSignals() as held:
            try:
                with self._sharing({threading.get_ident()}):
                    _thread(dispatch_here, "bsbpool-dispatcher").start()
                    self._run_jobs(run, held)
                    while not ended.wait(SECONDS_BETWEEN_SIGNALS):
                        self._handle(held)
            finally:
                self._link.close()
        if self._error is not None and not errors:
            errors.append(self._error)
        self._error = None
        try:
            held.handle_waiting()
        finally:
            if errors:
                raise errors.pop()

    def _run_beside(self, dispatch: Callable[[], None], run: WorkerRun) -> None:
        """Run jobs in a new thread, and call `dispatch` in the calling one.

        If `dispatch` raises, the job that runs is not waited for, as those of other ranks.
        """
        thread = _thread(lambda: self._run_jobs(run, HeldSignals()), "bsbpool-jobs")
        with self._sharing(set()):
            thread.start()
            try:
                dispatch()
                thread.join()
            finally:
                self._link.close()
        if self._error is not None:
            raise self._error

    def _run_jobs(self, run: WorkerRun, held: HeldSignals) -> None:
        try:
            with held.allowed(), marking_signals():
                run.run_jobs()
        except BaseException as error:
            self._end(error)

    def _handle(self, held: HeldSignals) -> None:
        """Handle a signal while this thread waits for the end of the other one."""
        try:
            held.handle_waiting()
        except BaseException as error:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        """Let `check` raise an error in the thread that schedules."""
        self._error = self._error or error
        self._channel.wake()

    @contextmanager
    def _sharing(self, job_threads: set[int]) -> Iterator[None]:
        """Let the threads of this process alternate quickly, and know which one runs jobs."""
        context = self._context
        others = {thread.ident or 0 for thread in threading.enumerate()} - job_threads
        others -= running.other_threads  # of another run
        running.other_threads |= others
        context.schedulers.outside_jobs = True
        try:
            with _quick_switching:
                yield
        finally:
            running.other_threads -= others

    @contextmanager
    def _outside_jobs(self) -> Iterator[None]:
        """Let the calling thread count as one that executes the pool, and as outside of jobs."""
        thread = threading.get_ident()
        self._context.executing_threads |= {thread}
        running.other_threads.add(thread)
        try:
            yield
        finally:
            running.other_threads.discard(thread)


class _QuickSwitching:
    """Sets the switch interval of the interpreter while any run needs it, and then restores it.

    Runs may overlap: the thread of an executor ends a little later than its ``with`` block.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0
        self._interval = 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._n == 0:
                self._interval = sys.getswitchinterval()
                sys.setswitchinterval(min(SWITCH_SECONDS, self._interval))
            self._n += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n -= 1
            if self._n == 0:
                sys.setswitchinterval(self._interval)


_quick_switching = _QuickSwitching()


def _thread(target: Callable[[], Any], name: str) -> threading.Thread:
    """Return a thread that has the context variables of the calling one."""
    run = contextvars.copy_context().run
    return threading.Thread(target=run, args=(target,), name=name, daemon=True)
