"""The `bsbpool` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bsbpool import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["bsb"]:
        return _bsb(arguments[1:])
    if arguments[:1] == ["run"]:
        return _run(arguments[1:])
    if arguments[:1] == ["simulate"]:
        return _simulate(arguments[1:])
    if arguments[:1] == ["report"]:
        return _report(arguments[1:])
    parser = argparse.ArgumentParser(prog="bsbpool", description=__doc__)
    parser.add_argument("--version", action="version", version=f"bsbpool {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser("bsb", help="run the bsb command, with bsbpool as its job pool")
    commands.add_parser("run", help="run a program on rank 0, with the other ranks as its workers")
    commands.add_parser("simulate", help="predict how a pool uses many ranks")
    commands.add_parser("report", help="make a report about a run from its trace")
    parser.parse_args(arguments)
    return 0


def _bsb(arguments: list[str]) -> int:
    from bsbpool.integrations import bsb as adapter

    adapter.install()
    from bsb.cli import handle_cli

    sys.argv = ["bsb", *arguments]
    handle_cli()
    return 0


def _run(arguments: list[str]) -> int:
    from bsbpool import run

    return run.main(arguments)


def _simulate(arguments: list[str]) -> int:
    from bsbpool.simulation import command

    return command.main(arguments)


def _report(arguments: list[str]) -> int:
    from bsbpool.reporting import command

    return command.main(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
