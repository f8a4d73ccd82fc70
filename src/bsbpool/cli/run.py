"""The command ``bsbpool run``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

EPILOG = """
examples:
  mpiexec -n 4 bsbpool run script.py --steps 10   a script with its arguments
  mpiexec -n 4 bsbpool run -m package.module      a module
  mpiexec -n 4 bsbpool run -c "print(6 * 7)"      code
  mpiexec -n 4 bsbpool run folder_or_archive      its module __main__

`bsbpool.PoolExecutor()` in the program finds the workers. Without mpiexec, a thread of the program
is the only worker.

exit codes: those of the program; 1 after an error, 2 for wrong usage, 130 after Ctrl-C
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code of the program."""
    if not arguments or arguments[0] in ("-h", "--help"):
        parser().parse_args(arguments)  # prints help or an error, and exits
    from bsbpool import run

    return run.main(arguments)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command, for its help and for completion."""
    result = argparse.ArgumentParser(
        prog="bsbpool run",
        usage="bsbpool run [-h] [-m MODULE | -c CODE | SCRIPT] [ARGUMENTS ...]",
        description="Run a program on rank 0. The other ranks run the calls of its executors.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("-m", metavar="MODULE", help="run a module of sys.path")
    result.add_argument("-c", metavar="CODE", help="run this code")
    result.add_argument("script", metavar="SCRIPT", help="a file, a folder or a zip archive")
    result.add_argument(
        "arguments", metavar="ARGUMENTS", nargs=argparse.REMAINDER, help="arguments of the program"
    )
    return result
