"""The `bsbpool` command: each subcommand is a module, imported when it is used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from bsbpool import __version__
from bsbpool._typing import TYPE_CHECKING
from bsbpool.cli.commands import COMMANDS

if TYPE_CHECKING:
    import argparse


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] and arguments[0] in COMMANDS:
        module = importlib.import_module(COMMANDS[arguments[0]].module)
        code: int = module.main(arguments[1:])
        return code
    parser().parse_args(arguments)  # exits: this is an option or an error
    return 2


EPILOG = """
examples:
  bsbpool doctor                            does MPI work here, and if not, why?
  mpiexec -n 4 bsbpool doctor               the same for ranks that are already started
  mpiexec -n 4 bsbpool run script.py        rank 0 runs the script, the others its calls
  bsbpool COMMAND --help                    options, examples and exit codes of a command

exit codes:
  0  the command has done its work
  1  it has failed; for doctor: it has found problems
  2  wrong usage
Programs that `run` and `bsb` start end with exit codes of their own.
"""


def parser(commands: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Return the parser of `bsbpool`, which knows the names of the commands, not their options."""
    import argparse

    result = argparse.ArgumentParser(
        prog="bsbpool",
        description="A job pool on MPI.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--version", action="version", version=f"bsbpool {__version__}")
    parsers = result.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in commands:
        parsers.add_parser(name, help=COMMANDS[name].summary)
    return result
