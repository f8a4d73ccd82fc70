"""The command ``bsbpool bsb``: BSB's own command, with bsbpool as its job pool."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence

EPILOG = """
examples:
  bsbpool bsb --help                              this text and the help of bsb
  bsbpool bsb compile network.yaml --clear        build a network in one process
  mpiexec -n 4 bsbpool bsb compile network.yaml   build it on the ranks 1 to 3
  mpiexec -n 4 bsbpool bsb compile network.yaml --journal run.journal
                                                  the same; go on if it was cut off

All other arguments are those of bsb; its commands are described at https://bsb.readthedocs.io.

exit codes: those of bsb, and with --journal
  1   the network or the journal cannot be used
  2   wrong usage
  75  the run left in time; the same command goes on
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    if list(arguments) in (["-h"], ["--help"]):
        print(parser().format_help(), flush=True)  # and then the help of bsb
        if importlib.util.find_spec("bsb") is None:
            return 0
    given, rest = _own_parser().parse_known_args(list(arguments))
    own: dict[str, str | None] = vars(given)
    from bsbpool.integrations import bsb as adapter

    adapter.install()
    sys.argv = ["bsb", *rest]
    if any(value is not None for value in own.values()):
        return _resume(own, rest)
    from bsb.cli import handle_cli

    handle_cli()
    return 0


def _resume(own: Mapping[str, str | None], rest: list[str]) -> int:
    """Run the command with a journal."""
    from bsbpool import exceptions
    from bsbpool.integrations.bsb.resuming.options import make_options

    try:
        options = make_options(own, rest)
    except (TypeError, ValueError) as error:
        print(f"bsbpool bsb: error: {error}", file=sys.stderr)
        return 2
    from bsb import MPI
    from bsb.cli import handle_cli

    try:
        if options is not None:
            from bsbpool.integrations.bsb.resuming.compile import install

            install(options)
        handle_cli()
    except exceptions.JournalError as error:
        if MPI.get_rank() == 0:
            print(f"bsbpool bsb: error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _own_parser() -> argparse.ArgumentParser:
    """Return the parser of the options that BSB does not get."""
    result = argparse.ArgumentParser(prog="bsbpool bsb", add_help=False, allow_abbrev=False)
    group = result.add_argument_group("options of bsbpool, for `compile`")
    option = group.add_argument
    option("--journal", metavar="FILE", help="record the jobs that end, and go on from there")
    option("--checkpoint-file", metavar="FILE", help="copy the network there after each phase")
    option("--deadline", metavar="SECONDS", help="end in so many seconds; or `slurm`, `pbs`")
    option("--grace", metavar="SECONDS", help="how long jobs may run on after SIGTERM")
    return result


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command, for its help and for completion."""
    result = argparse.ArgumentParser(
        prog="bsbpool bsb",
        usage="bsbpool bsb [COMMAND OF BSB] [OPTIONS OF BSB ...] [OPTIONS OF BSBPOOL ...]",
        description="Run the command of BSB, with bsbpool as its job pool.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_own_parser()],
        add_help=False,
    )
    result.add_argument(
        "arguments", metavar="ARGUMENTS", nargs=argparse.REMAINDER, help="arguments of bsb"
    )
    return result
