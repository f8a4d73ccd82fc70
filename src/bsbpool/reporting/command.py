"""The command ``bsbpool report``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bsbpool.reporting.analysis import analyze
from bsbpool.reporting.trace import TraceError, read_trace

EXAMPLES = """
examples:
  bsbpool report run.trace.json                    write run.trace.html
  bsbpool report run.trace.json -o report.html     write report.html
  bsbpool report --text run.trace.json             print tables

A program writes a trace with
  pool.add_listener(bsbpool.listeners.TraceListener("run.trace.json"))

exit codes:
  0  the report was made
  2  the trace cannot be read, or the report cannot be written
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    given = parser().parse_args(list(arguments))
    try:
        trace = read_trace(given.trace)
        analyses = [analyze(pool) for pool in trace.pools]
        if given.text:
            from bsbpool.reporting.text import report_text

            print(report_text(trace, analyses))
            return 0
        from bsbpool.reporting.page import report_page

        output = given.output or str(Path(given.trace).with_suffix(".html"))
        title = given.title or f"Report about {Path(given.trace).name}"
        Path(output).write_text(report_page(trace, analyses, title), encoding="utf-8")
    except BrokenPipeError:
        sys.stdout = None  # the reader of the tables, for example `head`, has enough
        return 0
    except (OSError, TraceError) as error:
        print(f"bsbpool report: error: {error}", file=sys.stderr)
        return 2
    print(output)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    result = argparse.ArgumentParser(
        prog="bsbpool report",
        description="Make a report about a run from its trace: an HTML page, or tables.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("trace", help="the file that a TraceListener has written")
    add("-o", "--output", metavar="FILE", help="the page (the name of the trace with .html)")
    add("--title", help="the title of the page")
    add("--text", action="store_true", help="print tables instead")
    return result
