"""The list of the subcommands of `bsbpool`."""

from __future__ import annotations

from collections import namedtuple

Command = namedtuple("Command", ["module", "summary"])
"""A subcommand.

Attributes
----------
module : str
    A module with `main(arguments) -> int`, which runs the command, and `parser()`, which returns
    its `argparse.ArgumentParser`.
summary : str
    One line for ``bsbpool --help``.
"""

COMMANDS = {
    "doctor": Command(
        "bsbpool.diagnostics.command", "check MPI, its launcher and this machine; explain faults"
    ),
    "run": Command("bsbpool.cli.run", "run a program on rank 0, the other ranks are its workers"),
    "bsb": Command("bsbpool.cli.bsb", "run the bsb command, with bsbpool as its job pool"),
    "simulate": Command("bsbpool.simulation.command", "predict how a pool uses many ranks"),
    "report": Command("bsbpool.reporting.command", "make a report about a run from its trace"),
    "journal": Command("bsbpool.cli.journal", "show, verify or compact the journal of a run"),
    "completion": Command("bsbpool.cli.completion", "print a completion script for a shell"),
    "version": Command("bsbpool.cli.version", "print the versions of bsbpool and its libraries"),
}
"""The subcommands by name."""
