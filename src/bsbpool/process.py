"""The state of this process: the jobs that it runs, signals, and forked children.

A job is interrupted when it is cancelled while it runs, when its time is over, and when its run
ends early. In the main thread the handler of SIGURG then raises an error in it. The system ignores
this signal by default, and it may arrive without a reason. In other threads, and if the program
handles SIGURG itself, the interpreter raises the error between two bytecodes.

Signals that end the process are SIGTERM of the batch system and Ctrl-C of the user. Pickling calls
code of the objects that are pickled, and this code may raise a KeyboardInterrupt or a SystemExit.
`marking_signals` marks the errors that signal handlers raise, so that `is_from_signal` can
distinguish the two.

Jobs, callbacks or the program itself may fork. A forked child is not a rank, and the threads of its
parent do not run in it. It must end on SIGTERM like any other process, and must not send messages
in the name of its parent. Children that run another program (`subprocess`, or multiprocessing with
the spawn method) are not affected.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

from bsbpool._core.jobs.invoke import CallDepth, RunningJob
from bsbpool._typing import Any, NoReturn


def logs_if_used() -> Any:
    """Return the module `bsbpool.logs`; None if nobody reads logs, so that it need not be imported.

    That is so while nothing has imported `logging`, and BSBPOOL_LOG is not set.
    """
    if "logging" not in sys.modules and not os.environ.get("BSBPOOL_LOG"):
        return None
    from bsbpool import logs

    return logs


# ------------------------------------------------------------------ running jobs


class Running(CallDepth):
    """The state of this process with regard to jobs.

    Attributes
    ----------
    inside_job : int
        The number of jobs that this process runs, each inside the one before.
    workers_dedicated : bool
        Whether the other ranks only run the calls of executors and not this program, so that
        collective calls would hang.
    before_execute : list of callable
        Called before a pool executes.
    job_contexts : list of callable
        Each makes a context manager, which is entered for jobs of other ranks and for schedulers.
    after_deaths : list of callable
        Called by pools when ranks of this node have died, and again while one of them returns
        False.
    abort_code : int
        The exit code when this process must end all ranks with MPI_Abort.
    other_threads : set of int
        Threads that are outside of the jobs that this process runs: on a main rank that runs jobs,
        other threads schedule them, or belong to the program.
    """

    def __init__(self) -> None:
        self.workers_dedicated = False
        self.abort_code = 1
        self.before_execute: list[Callable[[], object]] = []
        self.job_contexts: list[Callable[[], AbstractContextManager[Any]]] = []
        self.after_deaths: list[Callable[[], bool]] = []
        self.other_threads: set[int] = set()

    @property
    def in_job(self) -> bool:
        """Whether the calling thread is inside of a job, or was started by one."""
        return self.inside_job > 0 and threading.get_ident() not in self.other_threads

    def ranks_died(self) -> bool:
        """Call `after_deaths`; return whether this is done."""
        return all([callback() for callback in self.after_deaths])

    def call(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function of a job."""
        self.inside_job += 1
        try:
            return f(*args, **kwargs)
        finally:
            self.inside_job -= 1

    @contextmanager
    def in_contexts(self) -> Iterator[None]:
        """Enter the job contexts, for code that one rank runs without the others."""
        with ExitStack() as stack:
            for job_context in self.job_contexts:
                stack.enter_context(job_context())
            yield

    def call_in_contexts(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function of a job that another rank sent."""
        if not self.job_contexts:
            return self.call(f, *args, **kwargs)
        with self.in_contexts():
            return self.call(f, *args, **kwargs)


running = Running()
"""The state of this process."""

_active: list[RunningJob] = []
"""The jobs of the runs that this process executes; those of nested runs follow the outer ones."""
_INTERRUPT = int(signal.SIGURG)


@contextmanager
def interruptible(
    job: RunningJob,
    error_classes: tuple[type[BaseException], ...],
    describe: Callable[[int], Any],
) -> Iterator[None]:
    """Let the jobs of a run, which the calling thread executes, be interrupted and described.

    Parameters
    ----------
    job : RunningJob
        The present job of the run.
    error_classes : tuple of type
        The errors that are raised in interrupted jobs, by `InterruptKind`.
    describe : callable
        Returns a `CurrentJob` for the number of a job that is running.
    """
    job.error_classes, job.describe = error_classes, describe
    job.bind(_interrupt_signal())
    _active.append(job)
    try:
        yield
    finally:
        _active.remove(job)


def running_here() -> RunningJob | None:
    """Return the innermost job that the calling thread runs, or None."""
    thread = threading.get_ident()
    for job in reversed(_active):
        if job.number >= 0 and job.thread == thread:
            return job
    return None


def is_from_outer_job(error: BaseException, inner: RunningJob) -> bool:
    """Whether an error interrupts a job that executes the run of the job `inner`."""
    thread = threading.get_ident()
    for job in _active:
        if job is inner:
            return False
        if job.thread == thread and job.has_raised(error):
            return True
    return False


def _interrupt_signal() -> int:
    """Return the signal that interrupts the jobs of the calling thread; 0 if there is none."""
    if threading.current_thread() is not threading.main_thread():
        return 0
    handler = signal.getsignal(_INTERRUPT)
    if handler is not _raise_due:
        if handler is not signal.SIG_DFL and handler is not signal.SIG_IGN:
            return 0
        signal.signal(_INTERRUPT, _raise_due)
    return _INTERRUPT


def _raise_due(number: int, frame: object) -> None:
    for job in reversed(_active):
        if (error := job.take()) is not None:
            raise error


# ------------------------------------------------------------------ forked children

_actions: list[Callable[[], object]] = []
_preparations: list[Callable[[], object]] = []
_thread = threading.local()


def in_children(action: Callable[[], object]) -> None:
    """Call a function in each child that this process forks from now on.

    Registering the same function again has no effect.
    """
    if action in _actions:
        return
    if not _actions:
        os.register_at_fork(
            before=_before_fork, after_in_parent=_release_sigterm, after_in_child=_after_fork
        )
    _actions.append(action)


def before_forks(action: Callable[[], object]) -> None:
    """Call a function before each fork of a process that uses pools.

    Used to import modules that are otherwise imported on first use: if another thread holds the
    import lock of a module during the fork, the child can never import that module.
    """
    _preparations.append(action)


def _before_fork() -> None:
    import traceback  # noqa: F401 - for `end_if_child_of`; see `before_forks`

    for action in _preparations:
        action()
    _hold_sigterm()


def _hold_sigterm() -> None:
    """Block SIGTERM until the child can handle it.

    Python drops the signals that are pending in a new child.
    """
    _thread.holds = signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _release_sigterm() -> None:
    if getattr(_thread, "holds", False):
        _thread.holds = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _after_fork() -> None:
    try:
        for action in _actions:
            action()
    finally:
        _release_sigterm()


def end_if_child_of(process: int, error: BaseException) -> None:
    """End the process after a job or call raised `error`, if it is a forked child of `process`.

    Otherwise the child would return into the main loop of its parent and send replies as that rank.
    """
    if os.getpid() == process:
        return
    if isinstance(error, SystemExit):
        end_child(error.code)
    import traceback

    with suppress(Exception):  # there may be no stderr
        traceback.print_exception(error)
    end_child(1)


def end_child(code: object) -> NoReturn:
    """End a forked child without finalizing MPI, which belongs to its parent."""
    number = code if isinstance(code, int) else int(code is not None)
    with suppress(Exception):
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(number & 0xFF)


# ------------------------------------------------------------------ signals


class Terminated(SystemExit):
    """The process received SIGTERM while it executed a pool.

    If it is not caught, the process ends with exit code 143, which stands for SIGTERM.
    """


@contextmanager
def raising_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the main thread, so that a run can end on all ranks.

    By default SIGTERM ends the process at once. A handler that the program has set is kept.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    in_children(_restore_default)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        _restore_default()


def _terminate(number: int, frame: object) -> None:
    raise Terminated(128 + number)


def _restore_default() -> None:
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def is_from_signal(error: BaseException) -> bool:
    """Whether the handler of a signal raised an error, in the main thread.

    Outside of `marking_signals` errors have no marks, and each KeyboardInterrupt counts as Ctrl-C.
    """
    if isinstance(error, Terminated) or _MARK in _attributes(error):
        return True
    return (
        isinstance(error, KeyboardInterrupt)
        and not _marks.active
        and threading.current_thread() is threading.main_thread()
    )


@contextmanager
def marking_signals() -> Iterator[None]:
    """Mark the errors that handlers of SIGINT and SIGTERM raise, for `is_from_signal`."""
    if _marks.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    _marks.active = True
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler) and getattr(handler, "__module__", None) not in OWN_HANDLERS:
            _replaced[number] = handler, _marking(handler)
            signal.signal(number, _replaced[number][1])
    try:
        yield
    finally:
        for replaced, (handler, marking) in _replaced.items():
            if signal.getsignal(replaced) is marking:  # else the program has set another one
                signal.signal(replaced, handler)
        _replaced.clear()
        _marks.active = False


def _marking(handler: Handler) -> Handler:
    """Return a handler that calls `handler` and marks its errors."""

    def handle(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            _attributes(error)[_MARK] = True
            raise

    return handle


def _attributes(error: BaseException) -> dict[str, Any]:
    """Return the ``__dict__`` of an error, without calling code of its class."""
    attributes: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return attributes


class _Marks:
    """Whether errors of signals are marked; also True where the program ignores these signals."""

    active = False


Handler = Callable[[int, Any], Any]
_marks = _Marks()
_MARK = "_bsbpool_from_signal"
OWN_HANDLERS = (__name__, "bsbpool.leaving.signals")
"""Modules of this package whose handlers raise `Terminated`, which needs no mark, or nothing."""
_replaced: dict[int, tuple[Handler, Handler]] = {}
"""For each signal, the handler of the program and the handler that replaces it."""
