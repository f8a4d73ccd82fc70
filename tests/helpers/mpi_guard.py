"""A pytest plugin that ends a run of several ranks when they hang.

`mpiexec -n N python -m pytest --with-mpi` runs N independent copies of pytest. When a test fails on
one rank, the others may wait for that rank for ever.

*Exchange of outcomes.* After each phase of a test (setup, call, teardown) every rank sends its
outcome to all others and waits for theirs. The worst outcome becomes that of all ranks. So all
ranks continue alike (after a failed setup none runs the test) and count the same failures, and the
report of rank 0, the only one that is printed, shows failures of other ranks. The messages use a
duplicate of COMM_WORLD and nonblocking calls: a test may leave unfinished communication behind.

*After a failure.* A failing rank prints its traceback at once. The other ranks then have `GRACE`
seconds to send their outcome; after that, a rank that waits for one ends the run.

*Time limits.* Each test may take `LIMIT` seconds, or those of ``@pytest.mark.limit(seconds)``. A
timer thread on each rank ends the run after that; rank 0 comes first, the others are its backup.

*Ending the run.* The rank sends a signal to all ranks, prints the stacks of all their threads, and
calls MPI_Abort. faulthandler handles the signal, even if a rank hangs in C code and holds the GIL:
it writes the stacks to a file, which the rank that ends the run reads. If no rank gets that far,
faulthandler's own timer ends each process some seconds later.

Without --with-mpi there is only that timer, and tests marked `mpi` are deselected. With it, all
others are.

All ranks must be on one machine with /proc.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from typing import Any, NamedTuple

import pytest

LIMIT = 60.0
"""Time limit of a test under mpiexec, in seconds."""
SERIAL_LIMIT = 300.0
"""Time limit of another test, in seconds."""
GRACE = 5.0
"""Seconds after the first failure of a test until all ranks must have ended the test."""
TURN = 2.0
"""Seconds that a rank waits longer than the one before it, until it ends the run itself."""
LAST_RESORT = 10.0
"""Seconds after the limit until faulthandler ends a process that could not end the run."""
EXIT_SECONDS = 30
"""Seconds that a process may take for MPI_Finalize."""

SHOW_STACK = signal.SIGUSR2
BORING = ("/_pytest/", "/pluggy/", "/pytest/__main__.py", "<frozen runpy>")
SEVERITY = ("passed", "skipped", "failed")


class Outcome(NamedTuple):
    """The outcome of a phase of a test on a rank; `longrepr` is text after a failure."""

    kind: str
    longrepr: Any


@pytest.hookimpl(trylast=True)  # after the terminal reporter was made
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "limit(seconds): how long the test may take")
    guard = MPIGuard(config) if _with_mpi(config) else SerialGuard()
    config.pluginmanager.register(guard, "guard")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = _with_mpi(config)
    here = [item for item in items if (item.get_closest_marker("mpi") is not None) == wanted]
    if len(here) < len(items):
        chosen = set(map(id, here))
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
        items[:] = here


def _with_mpi(config: pytest.Config) -> bool:
    return bool(config.getoption("with_mpi", default=False))


def _limit_of(item: pytest.Item, default: float) -> float:
    marker = item.get_closest_marker("limit")
    return default if marker is None else float(marker.args[0])


class SerialGuard:
    """Ends the process if a test takes too long."""

    def __init__(self) -> None:
        self._stderr = os.dup(2)  # pytest replaces it during tests

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        seconds = _limit_of(item, SERIAL_LIMIT)
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._stderr)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()


class MPIGuard:
    """Exchanges outcomes with the other ranks; see the docstring of the module."""

    def __init__(self, config: pytest.Config) -> None:
        from mpi4py import MPI

        self._comm = MPI.COMM_WORLD.Dup()
        self._rank: int = self._comm.Get_rank()
        self._peers = set(range(self._comm.Get_size())) - {self._rank}
        self._stderr = os.dup(2)
        self._ending = threading.Lock()
        self._stacks = tempfile.TemporaryFile()  # noqa: SIM115  (as long as the process)
        faulthandler.register(SHOW_STACK, file=self._stacks, all_threads=True)
        self._places = self._comm.allgather((os.getpid(), self._stacks.fileno()))
        if self._rank:
            _silence(config)

    # ------------------------------------------------------------ pytest's hooks

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        mine = [item.nodeid for item in session.items], session.testsfailed
        all_of_them = self._comm.allgather(mine)
        if any(theirs != mine for theirs in all_of_them):
            counts = ", ".join(f"{len(tests)} tests, {n} errors" for tests, n in all_of_them)
            raise pytest.UsageError(f"the ranks did not collect the same tests: {counts}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        seconds = _limit_of(item, LIMIT)
        reason = f"{item.nodeid} takes more than {seconds:g} s"
        watch = threading.Timer(seconds + TURN * self._rank, self._end_run, [reason])
        watch.daemon = True
        watch.start()
        last = seconds + TURN * len(self._peers) + LAST_RESORT
        faulthandler.dump_traceback_later(last, exit=True, file=self._stderr)
        try:
            return (yield)
        finally:
            watch.cancel()
            if self._ending.locked():
                threading.Event().wait()  # the run is being aborted
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        where = f"{item.nodeid} ({report.when})"
        mine = Outcome(report.outcome, report.longrepr)
        if report.failed:
            mine = Outcome("failed", str(report.longrepr))
            self._print(f"rank {self._rank}: {where} failed", mine.longrepr)
        _fold(report, self._exchange(mine, where), self._rank)
        return report

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._print(f"rank {self._rank}: internal error of pytest", str(excrepr))
        self._end_run("pytest itself failed")

    def pytest_unconfigure(self) -> None:
        # A process that hangs in MPI_Finalize can only be ended by the kernel.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(EXIT_SECONDS)

    # ------------------------------------------------------------ exchange of outcomes

    def _exchange(self, mine: Outcome, where: str) -> dict[int, Outcome]:
        """Return the outcomes of all ranks; end the run if one is missing after a failure."""
        sends = [self._comm.isend(mine, peer) for peer in self._peers]
        received = {self._rank: mine}
        until = None
        while missing := self._peers - received.keys():
            for peer in missing:
                if message := self._comm.improbe(source=peer):
                    received[peer] = message.recv()
            if until is None and any(outcome.kind == "failed" for outcome in received.values()):
                until = time.monotonic() + GRACE + TURN * self._rank
            if until is not None and time.monotonic() > until:
                late = ", ".join(f"rank {peer}" for peer in sorted(self._peers - received.keys()))
                self._end_run(f"{where} failed, and {late or 'nobody'} still had not ended it")
            time.sleep(0.001)
        for send in sends:
            send.wait()  # all ranks take part, so all messages are received
        return received

    # ------------------------------------------------------------ ending the run

    def _end_run(self, reason: str) -> None:
        """Print the stacks of all ranks and abort. Does not return."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # another thread of this rank is doing it
        for pid, _ in self._places:
            _attempt(os.kill, pid, SHOW_STACK)
        time.sleep(0.5)
        self._print(f"rank {self._rank} ends the run: {reason}")
        for rank, (pid, fd) in enumerate(self._places):
            self._print(f"stacks of rank {rank}", _attempt(_read_stacks, f"/proc/{pid}/fd/{fd}"))
        if "bsbpool.locking" in sys.modules and (locks := describe_locks()):
            self._print("locks", locks)
        time.sleep(0.5)  # mpiexec may drop output that it has not forwarded yet
        self._comm.Abort(1)

    def _print(self, title: str, text: str = "") -> None:
        os.write(self._stderr, f"\n==== {title} ====\n{text}\n".encode(errors="replace"))


def describe_locks() -> str:
    """Return which ranks have the locks of this process, and which wait."""
    from bsbpool import locking

    return locking.describe_locks()


def _silence(config: pytest.Config) -> None:
    """Discard the report of this rank; rank 0 prints the only one."""
    from _pytest.config import create_terminal_writer

    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reporter._tw = create_terminal_writer(config, open(os.devnull, "w"))  # noqa: SIM115


def _fold(report: pytest.TestReport, outcomes: dict[int, Outcome], me: int) -> None:
    """Set the outcome of a report to the worst of all ranks."""
    worst = max(SEVERITY.index(outcome.kind) for outcome in outcomes.values())
    alike = [rank for rank in sorted(outcomes) if outcomes[rank].kind == SEVERITY[worst]]
    if me not in alike:
        rank = alike.pop(0)
        report.outcome, report.longrepr = outcomes[rank]  # type: ignore[assignment]
        report.__dict__.pop("wasxfail", None)
        if report.failed:
            report.longrepr = f"failed on rank {rank}\n{report.longrepr}"
    if report.failed:
        report.sections += [
            (f"failed on rank {rank}", outcomes[rank].longrepr) for rank in alike if rank != me
        ]


def _read_stacks(path: str) -> str:
    """Return the output of faulthandler, without the frames of pytest."""
    with open(path, errors="replace") as file:
        return "".join(line for line in file if not any(name in line for name in BORING))


def _attempt(f: Any, *args: Any) -> Any:
    """Call a function for a process that may have ended; return the text of its error."""
    try:
        return f(*args)
    except OSError as error:
        return str(error)
