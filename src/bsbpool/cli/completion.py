"""The command ``bsbpool completion``: completion scripts, made by the package shtab."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from bsbpool.cli.commands import COMMANDS

SHELLS = ("bash", "zsh", "fish")

EPILOG = """
examples:
  bsbpool completion bash > ~/.local/share/bash-completion/completions/bsbpool
  bsbpool completion zsh > ~/.zsh/completions/_bsbpool         a folder that is in $fpath
  bsbpool completion fish > ~/.config/fish/completions/bsbpool.fish
  eval "$(bsbpool completion bash)"                            for this shell only

The script is static: the shell does not start Python to complete a word. Making it needs the
package shtab (`pip install bsbpool[completion]`), using it does not.

exit codes: 0; 1 if shtab is not installed, 2 for wrong usage
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    given = parser().parse_args(list(arguments))
    try:
        import shtab
    except ImportError:
        print(
            "bsbpool completion: error: the package shtab is not installed; install it with "
            "`pip install bsbpool[completion]`",
            file=sys.stderr,
        )
        return 1
    print(shtab.complete(full_parser(shtab), given.shell))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    result = argparse.ArgumentParser(
        prog="bsbpool completion",
        description="Print a script with which a shell completes commands, options and files.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("shell", choices=SHELLS, help="the shell")
    return result


def full_parser(shtab: Any) -> argparse.ArgumentParser:
    """Return a parser that knows the options of all commands."""
    result = argparse.ArgumentParser(prog="bsbpool")
    result.add_argument("--version", action="store_true", help="print the version and exit")
    parsers = result.add_subparsers(title="commands", dest="command")
    for name, command in COMMANDS.items():
        of_command = importlib.import_module(command.module).parser()
        for action in of_command._actions:
            if takes_file(action):
                action.complete = shtab.FILE
        parsers.add_parser(name, help=command.summary, parents=[of_command], add_help=False)
    return result


def takes_file(action: argparse.Action) -> bool:
    """Return whether the value of an option is a file; positional arguments usually are."""
    metavar = str(action.metavar or "")
    return metavar in ("FILE", "SCRIPT") or action.nargs == argparse.REMAINDER
