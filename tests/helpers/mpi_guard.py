"""A pytest plugin that keeps a run of several ranks from hanging.

`mpiexec -n N python -m pytest --with-mpi` runs N copies of pytest that know nothing of each other.
When a test fails on one rank, its peers may wait for that rank for ever.

*Meetings.* After each phase of a test (setup, call, teardown) every rank sends its outcome to all
others, and waits for theirs. The worst outcome becomes that of all ranks, so all of them go on
alike (after a failed setup none runs the test), all count the same failures, and rank 0, the only
one that prints a report, shows what failed elsewhere. Outcomes travel on a private duplicate of
COMM_WORLD, by messages that block nobody: a test may leave its own communication in disorder.

*Patience.* A failing rank prints its traceback at once. From then on its peers have `GRACE` seconds
to come to the meeting; then a rank that waits there ends the run.

*Limits.* Each test has a time limit, `LIMIT` seconds or what ``@pytest.mark.limit(seconds)`` says.
A thread of each rank watches over it; the first whose turn it is ends the run.

*Ending the run.* The rank that does so asks all ranks for their stacks, prints them one after the
other, and calls MPI_Abort. Ranks are asked by a signal, which faulthandler answers even when a rank
is stuck in C and holds the GIL: it writes into a file of that rank, and who asked reads the file.
Should no rank get so far, faulthandler's own timer ends the process some seconds later.

Without --with-mpi there is only that timer. Tests marked `mpi` are deselected then, and all others
with it.

The ranks must be on one machine that has /proc.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import threading
import time
from collections.abc import Generator
from typing import Any, NamedTuple

import pytest

LIMIT = 60.0
"""Seconds for a test under mpiexec."""
SERIAL_LIMIT = 300.0
"""Seconds for another test."""
GRACE = 5.0
"""Seconds from the first failure of a test until all ranks must have ended it."""
TURN = 2.0
"""Seconds by which each rank lets the one before it end the run."""
LAST_RESORT = 10.0
"""Seconds over the limit until a process that could not end the run ends itself."""
EXIT_SECONDS = 30
"""How long a process may take to leave MPI after its last test."""

SHOW_STACK = signal.SIGUSR2
BORING = ("/_pytest/", "/pluggy/", "/pytest/__main__.py", "<frozen runpy>")
SEVERITY = ("passed", "skipped", "failed")


class Outcome(NamedTuple):
    """How a phase of a test ended on a rank; `longrepr` is pytest's, as text where it failed."""

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
    """Ends a process whose test takes too long."""

    def __init__(self) -> None:
        self._stderr = os.dup(2)  # pytest puts another file in its place during tests

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        seconds = _limit_of(item, SERIAL_LIMIT)
        faulthandler.dump_traceback_later(seconds, exit=True, file=self._stderr)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()


class MPIGuard:
    """Keeps this rank in step with the others; see the module's text."""

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
                threading.Event().wait()  # it is too late to end well
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
            self._say(f"rank {self._rank}: {where} failed", mine.longrepr)
        _fold(report, self._meet(mine, where), self._rank)
        return report

    def pytest_internalerror(self, excrepr: Any) -> None:
        self._say(f"rank {self._rank}: internal error of pytest", str(excrepr))
        self._end_run("pytest itself failed")

    def pytest_unconfigure(self) -> None:
        # The kernel ends a process that cannot get out of MPI_Finalize; nobody else could.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(EXIT_SECONDS)

    # ------------------------------------------------------------ meeting the peers

    def _meet(self, mine: Outcome, where: str) -> dict[int, Outcome]:
        """Return the outcomes of all ranks, or end the run if one stays away after a failure."""
        sends = [self._comm.isend(mine, peer) for peer in self._peers]
        heard = {self._rank: mine}
        until = None
        while missing := self._peers - heard.keys():
            for peer in missing:
                if message := self._comm.improbe(source=peer):
                    heard[peer] = message.recv()
            if until is None and any(outcome.kind == "failed" for outcome in heard.values()):
                until = time.monotonic() + GRACE + TURN * self._rank
            if until is not None and time.monotonic() > until:
                late = ", ".join(f"rank {peer}" for peer in sorted(self._peers - heard.keys()))
                self._end_run(f"{where} failed, and {late or 'nobody'} still had not ended it")
            time.sleep(0.001)
        for send in sends:
            send.wait()  # all are in this meeting, so they do receive
        return heard

    # ------------------------------------------------------------ ending the run

    def _end_run(self, reason: str) -> None:
        """Print the stacks of all ranks and abort; never returns."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # another thread of this rank is at it
        for pid, _ in self._places:
            _try_to(os.kill, pid, SHOW_STACK)
        time.sleep(0.5)
        self._say(f"rank {self._rank} ends the run: {reason}")
        for rank, (pid, fd) in enumerate(self._places):
            self._say(f"stacks of rank {rank}", _try_to(_read_stacks, f"/proc/{pid}/fd/{fd}"))
        time.sleep(0.5)  # mpiexec may drop what it has not passed on yet
        self._comm.Abort(1)

    def _say(self, title: str, text: str = "") -> None:
        os.write(self._stderr, f"\n==== {title} ====\n{text}\n".encode(errors="replace"))


def _silence(config: pytest.Config) -> None:
    """Let only rank 0 print a report."""
    from _pytest.config import create_terminal_writer

    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reporter._tw = create_terminal_writer(config, open(os.devnull, "w"))  # noqa: SIM115


def _fold(report: pytest.TestReport, outcomes: dict[int, Outcome], me: int) -> None:
    """Make the worst outcome of all ranks that of the report, and show what it was."""
    worst = max(SEVERITY.index(outcome.kind) for outcome in outcomes.values())
    likewise = [rank for rank in sorted(outcomes) if outcomes[rank].kind == SEVERITY[worst]]
    if me not in likewise:
        rank = likewise.pop(0)
        report.outcome, report.longrepr = outcomes[rank]  # type: ignore[assignment]
        report.__dict__.pop("wasxfail", None)
        if report.failed:
            report.longrepr = f"failed on rank {rank}\n{report.longrepr}"
    if report.failed:
        report.sections += [
            (f"failed on rank {rank}", outcomes[rank].longrepr) for rank in likewise if rank != me
        ]


def _read_stacks(path: str) -> str:
    """Return what faulthandler wrote, without the depths of pytest."""
    with open(path, errors="replace") as file:
        return "".join(line for line in file if not any(name in line for name in BORING))


def _try_to(f: Any, *args: Any) -> Any:
    """Call a function on a peer that may be gone."""
    try:
        return f(*args)
    except OSError as error:
        return str(error)
