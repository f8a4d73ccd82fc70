"""The command ``bsbpool journal``."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence

from bsbpool import exceptions
from bsbpool.journal.contents import JournalContents, JournaledJob, compact

EPILOG = """
examples:
  bsbpool journal show run.journal            which runs wrote it, and how jobs ended
  bsbpool journal show --jobs run.journal     a line for each job
  bsbpool journal show --json run.journal     a JSON object for each job, for other programs
  bsbpool journal verify run.journal          is anything damaged or missing?
  bsbpool journal compact run.journal         drop records that later ones replace

`show` and `verify` also read the journal of a run that goes on. No command loads results, so a
journal of somebody else can be shown without running code of it.

exit codes:
  0  the command has done its work; for verify: nothing is damaged
  1  the file is not a journal, is in use (compact), or cannot be written; for verify: damage
  2  wrong usage
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    given = parser().parse_args(list(arguments))
    try:
        if given.action == "compact":
            before, after = compact(given.journal)
            print(f"{given.journal}: {before:,} bytes before, {after:,} bytes now")
            return 0
        contents = JournalContents(given.journal)
    except (exceptions.JournalError, OSError) as error:
        print(f"bsbpool journal: error: {error}", file=sys.stderr)
        return 1
    try:
        return _print(contents, given)
    except BrokenPipeError:
        sys.stdout = None  # the reader of the lines, for example `head`, has enough
        return 0


def _print(contents: JournalContents, given: argparse.Namespace) -> int:
    if given.action == "verify":
        return _verify(contents)
    if given.json:
        for job in contents.jobs():
            print(json.dumps(job._asdict()))
    elif given.jobs:
        for job in contents.jobs():
            print(_line(job))
    else:
        _show(contents)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command, for its help and for completion."""
    result = argparse.ArgumentParser(
        prog="bsbpool journal",
        description="Show, verify or compact the journal of a run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("action", choices=("show", "verify", "compact"), help="what to do")
    result.add_argument("journal", metavar="FILE", help="the journal")
    result.add_argument("--jobs", action="store_true", help="show a line for each job")
    result.add_argument("--json", action="store_true", help="show a JSON object for each job")
    return result


def _verify(contents: JournalContents) -> int:
    problems = contents.problems()
    for problem in problems:
        print(f"{contents.path}: {problem}")
    print(f"{contents.path}: {contents.n_jobs:,} jobs, {len(problems)} problems")
    return 1 if problems else 0


def _show(contents: JournalContents) -> None:
    written = contents.header
    print(f"{contents.path}: {contents.n_jobs:,} jobs, {contents.size:,} bytes")
    if written:
        print(
            f"begun at {written.get('created', '?')} by bsbpool {written.get('bsbpool', '?')}, "
            f"Python {written.get('python', '?')}, program {written.get('program') or '?'}"
        )
    if contents.runs:
        last = contents.runs[-1]
        print(
            f"{len(contents.runs)} runs; the last one at {last.get('created', '?')} on "
            f"{last.get('host', '?')}, process {last.get('pid', '?')}"
        )
    for problem in contents.problems(deep=False):
        print(problem)
    ends: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: Counter[str] = Counter()
    for job in contents.jobs():
        ends[job.name][job.status] += 1
        sizes[job.name] += job.size
    names = sorted({status for counts in ends.values() for status in counts}, reverse=True)
    if ends:
        print("".join(f"{name:>11}" for name in [*names, "bytes"]) + "  function")
    for function, counts in sorted(ends.items()):
        columns = [counts[name] for name in names] + [sizes[function]]
        print("".join(f"{n:>11,}" for n in columns) + f"  {function}")


def _line(job: JournaledJob) -> str:
    ended = datetime.datetime.fromtimestamp(job.time_ns * 1e-9, datetime.UTC)
    seconds = "" if job.seconds is None else f" after {job.seconds:.6f} s"
    rank = "" if job.rank is None else f" on rank {job.rank}"
    note = f": {job.note}" if job.note else ""
    return (
        f"{job.key} {ended:%Y-%m-%d %H:%M:%S} {job.status} {job.name}{seconds}{rank}, attempt "
        f"{job.attempts}, {job.size:,} bytes{note}"
    )
