"""The command ``bsbpool bsb``: BSB's own command, with bsbpool as its job pool."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence

EPILOG = """
examples:
  bsbpool bsb --help                              this text and the help of bsb
  bsbpool bsb compile network.yaml --clear        build a network in one process
  mpiexec -n 4 bsbpool bsb compile network.yaml   build it on the ranks 1 to 3

All arguments are those of bsb; its commands are described at https://bsb.readthedocs.io.

exit codes: those of bsb
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    if list(arguments) in (["-h"], ["--help"]):
        print(parser().format_help(), flush=True)  # and then the help of bsb
        if importlib.util.find_spec("bsb") is None:
            return 0
    from bsbpool.integrations import bsb as adapter

    adapter.install()
    from bsb.cli import handle_cli

    sys.argv = ["bsb", *arguments]
    handle_cli()
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command, for its help and for completion."""
    result = argparse.ArgumentParser(
        prog="bsbpool bsb",
        usage="bsbpool bsb [COMMAND OF BSB] [OPTIONS OF BSB ...]",
        description="Run the command of BSB, with bsbpool as its job pool.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    result.add_argument(
        "arguments", metavar="ARGUMENTS", nargs=argparse.REMAINDER, help="arguments of bsb"
    )
    return result
