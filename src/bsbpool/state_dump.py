"""A signal that makes a rank print where it is: its stacks, and what it waits for.

`faulthandler` prints the stack of the main thread in the handler of the system, so that it appears
even if this thread runs C code that does not return to the interpreter. Only this stack: reading
those of other threads without the GIL is not safe. These, and what the rank waits for, are printed
by a handler of Python, which the main thread calls at its next bytecode, and while it waits for
messages.

The handlers are installed with the first pool on several ranks, and stay until the process ends:
the signal is meant for all ranks, and would end those that have left their pool, or that wait in
MPI_Finalize for the others. A signal that something handles already is not used. MPICH, for
example, handles SIGUSR1.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from bsbpool._typing import Any
from bsbpool.process import in_children, logs_if_used

SETTING = "BSBPOOL_DUMP_SIGNAL"
SIGNALS = {"USR1": signal.SIGUSR1, "USR2": signal.SIGUSR2}
MOST_FRAMES = 100
"""The number of frames of a stack that are printed, as those of `faulthandler`."""
STDERR = 2
"""The file descriptor, since `sys.stderr` may be in use when a signal arrives."""

Describe = Callable[[], Iterable[str]]


class _Dump:
    """What the handler prints, and the signal that it handles.

    Attributes
    ----------
    place : str
        The rank and the host.
    describe : list of callable
        Each returns lines about a run of this process.
    number : signal.Signals or None
        The signal, once the handlers are installed.
    """

    def __init__(self) -> None:
        self.place = ""
        self.describe: list[Describe] = []
        self.number: signal.Signals | None = None
        self.has_python_handler = False


_dump = _Dump()


def print_state(number: int, frame: Any) -> None:
    """Print what this rank does, and the stacks of its other threads; a signal handler."""
    head = f"bsbpool: {_dump.place} (process {os.getpid()}), whose main thread is above:"
    try:
        lines = [line for describe in reversed(_dump.describe) for line in describe()]
        lines = [head, *(f"  {line}" for line in lines or ["it executes no pool"])]
        lines += _stacks_of_other_threads()
    except Exception as error:  # the signal must not disturb the program
        lines = [head, f"  its state cannot be read: {type(error).__name__}: {error}"]
    text = "".join(f"{line}\n" for line in lines).encode(errors="replace")
    with suppress(OSError):
        while text:
            text = text[os.write(STDERR, text) :]


def _stacks_of_other_threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident == threading.get_ident():
            continue
        yield f"Thread {names.get(ident, ident)} (most recent call first):"
        present: FrameType | None = frame
        for _ in range(MOST_FRAMES):
            if present is None:
                break
            code = present.f_code
            yield f'  File "{code.co_filename}", line {present.f_lineno} in {code.co_qualname}'
            present = present.f_back


def install(rank: int, n_ranks: int) -> None:
    """Let a signal print the state of this rank; do nothing after the first call.

    The setting BSBPOOL_DUMP_SIGNAL names the signal: USR1, USR2 or none. By default it is SIGUSR1,
    or SIGUSR2 if SIGUSR1 is handled already.

    Raises
    ------
    ValueError
        If the setting has another value.
    """
    if _dump.number is not None:
        return
    _dump.place = f"rank {rank} of {n_ranks} on {os.uname().nodename}"
    setting = os.environ.get(SETTING, "")
    numbers = chosen_signals(setting)
    for number in numbers:
        if is_free(number):
            _install(number)
            logs = logs_if_used()
            if logs is not None:
                logs.logger("runs").debug("%s prints what this rank does", number.name)
            return
    if setting and numbers and rank == 0:
        warnings.warn(
            f"{SETTING} is {setting}, but the program or a library handles this signal already, as "
            "MPICH handles SIGUSR1. It prints nothing about pools; set another signal.",
            RuntimeWarning,
            stacklevel=2,
        )


def installed() -> signal.Signals | None:
    """Return the signal that prints the state of this rank; None if there is none."""
    return _dump.number


def chosen_signals(setting: str) -> list[signal.Signals]:
    """Return the signals to try for a value of the setting."""
    name = setting.upper().removeprefix("SIG")
    if not name:
        return list(SIGNALS.values())
    if name != "NONE" and name not in SIGNALS:
        names = ", ".join(SIGNALS)
        raise ValueError(
            f"{SETTING} is {setting!r}; set it to one of {names} or none, or unset it"
        )
    return [SIGNALS[name]] if name in SIGNALS else []


def is_free(number: int) -> bool:
    """Whether a signal has its default action, as far as Python and the system know."""
    if signal.getsignal(number) is not signal.SIG_DFL:
        return False
    try:
        # Python does not know the handlers of libraries.
        with open("/proc/self/status") as file:
            fields = dict(line.split(":", 1) for line in file if line.startswith("Sig"))
        used = int(fields["SigCgt"], 16) | int(fields["SigIgn"], 16) | int(fields["SigBlk"], 16)
    except (OSError, KeyError, ValueError):  # not Linux
        return True
    return not used >> (number - 1) & 1


def release_default() -> None:
    """Release the signal if it was chosen by default, for another use."""
    if not os.environ.get(SETTING):
        uninstall()


def _install(number: signal.Signals) -> None:
    import faulthandler

    _dump.number = number
    _dump.has_python_handler = threading.current_thread() is threading.main_thread()
    if _dump.has_python_handler:
        signal.signal(number, print_state)
    # It then calls the handler of Python. Without that one, the default action ends the process.
    faulthandler.register(number, file=STDERR, all_threads=False, chain=_dump.has_python_handler)
    in_children(uninstall)


def uninstall() -> None:
    """Restore the default action; a handler of the program stays."""
    number, _dump.number = _dump.number, None
    if number is None:
        return
    import faulthandler

    present = signal.getsignal(number)
    faulthandler.unregister(number)  # which restores the handler that was there before
    if _dump.has_python_handler:
        signal.signal(number, signal.SIG_DFL if present is print_state else present)


@contextmanager
def described_by(describe: Describe) -> Iterator[None]:
    """Let the signal print the lines that `describe` returns."""
    _dump.describe.append(describe)
    try:
        yield
    finally:
        _dump.describe.remove(describe)
