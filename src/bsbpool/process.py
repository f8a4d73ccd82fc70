"""The state of this process: the jobs that it runs, signals, and forked children.

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

from bsbpool._core.jobs.invoke import CallDepth
from bsbpool._typing import Any, NoReturn

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
    """

    def __init__(self) -> None:
        self.workers_dedicated = False
        self.before_execute: list[Callable[[], object]] = []
        self.job_contexts: list[Callable[[], AbstractContextManager[Any]]] = []

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
        # Handlers of this module need no mark: they raise Terminated.
        if callable(handler) and getattr(handler, "__module__", None) != __name__:
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
_replaced: dict[int, tuple[Handler, Handler]] = {}
"""For each signal, the handler of the program and the handler that replaces it."""
