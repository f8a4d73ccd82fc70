"""The command ``bsbpool doctor``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from collections.abc import Sequence

from bsbpool.diagnostics.checks import check_started_ranks, check_trial
from bsbpool.diagnostics.launcher import check_launcher, find_launcher
from bsbpool.diagnostics.machine import check_shared_memory, shared_memory_fault
from bsbpool.diagnostics.packages import check_packages
from bsbpool.diagnostics.report import Report, started_by
from bsbpool.diagnostics.trial import Trial, try_as_this_rank, try_launcher
from bsbpool.services.launchers import is_started_by_mpi, launch_of_several

EPILOG = """
examples:
  bsbpool doctor                          starts 2 ranks with the mpiexec on PATH
  bsbpool doctor -n 8                     are there slots for 8 ranks?
  bsbpool doctor --launcher "srun --mpi=pmix"
  mpiexec -n 4 bsbpool doctor             checks these 4 ranks; rank 0 prints
  srun bsbpool doctor                     the same in a batch job
  bsbpool doctor --json                   for programs; its codes are in docs/command-line.md

exit codes:
  0  no problems (there may be notes)
  1  problems were found
  2  wrong usage
Under a launcher the exit code is that of rank 0; the others exit with 0.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    given = parser().parse_args(list(arguments))
    launch = launch_of_several()
    is_started = launch is not None or is_started_by_mpi()
    report = Report(started_by(launch, is_started))
    if launch is not None or (is_started and not given.launcher):
        report.trial = try_as_this_rank(given.timeout)
        report.tasks = launch.size if launch is not None else 1
        if is_silent(report.trial, launch.rank if launch is not None else 0):
            return 0
        report.findings += check_started_ranks(report.trial, launch)
    else:
        _try_to_start(report, given)
    if report.trial is None or not report.trial.answer.get("hosts"):
        fault = shared_memory_fault()
        report.findings[:0] = check_shared_memory(fault, os.uname().nodename)
    report.findings[:0] = check_packages(launch is not None)
    print(json.dumps(report.as_dict(), indent=2) if given.json else report, flush=True)
    return 1 if report.problems else 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    result = argparse.ArgumentParser(
        prog="bsbpool doctor",
        description="Check MPI, mpi4py, the launcher and this machine, run jobs on some ranks,\n"
        "and explain each fault with its remedy.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("-n", type=_number_of_ranks, default=2, metavar="RANKS", help="ranks to start (2)")
    add(
        "--launcher",
        default="",
        metavar="COMMAND",
        help="start ranks with this, not with mpiexec; ignored if ranks are already started",
    )
    add("--timeout", type=_seconds, default=60.0, metavar="S", help="seconds for a start (60)")
    add("--json", action="store_true", help="print one JSON object")
    return result


def _number_of_ranks(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"the number of ranks must be at least 1, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"seconds must be a positive number, not {text!r}")
    return seconds


def is_silent(trial: Trial, rank_of_launch: int) -> bool:
    """Return whether another rank prints the report.

    That is MPI's rank 0; if MPI does not connect the ranks, it is the first of the launcher. The
    exit code is 0 elsewhere, because some launchers end all ranks when one of them fails.
    """
    return bool(trial.answer["rank"] > 0 if trial.size > 1 else rank_of_launch > 0)


def _try_to_start(report: Report, given: argparse.Namespace) -> None:
    """Start ranks with the launcher that users would use."""
    if importlib.util.find_spec("mpi4py") is None:
        return
    launcher = report.launcher = find_launcher(given.launcher)
    report.findings += [] if given.launcher else check_launcher(launcher)
    if launcher is None:
        report.trial = try_as_this_rank(given.timeout)  # one process; it shows the MPI
        report.findings += check_started_ranks(report.trial, None)
    else:
        report.tasks = given.n
        report.trial = try_launcher(launcher, given.n, given.timeout)
        report.findings += check_trial(report.trial, launcher, given.n)
