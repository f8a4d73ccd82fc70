"""The options of the magics."""

from __future__ import annotations

import argparse
import re
from typing import Any, Self

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.utils.process import arg_split


class Options(argparse.Namespace):
    """The options of a magic; None for those that were not given."""

    block: bool | None = None
    targets: str | None = None
    verbose: bool | None = None
    stream: bool | None = None
    progress_after: float | None = None
    signal_on_interrupt: str | None = None
    group_outputs: str | None = None
    out: str | None = None
    local: bool | None = None

    def or_else(self, others: Options) -> Self:
        """Return these options; those that were not given are taken from others."""
        return type(self)(**{**_given(others), **_given(self)})


def _given(options: Options) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if value is not None}


def parser_of(name: str, kind: str) -> Any:
    """Return the parser of a magic.

    Parameters
    ----------
    name : str
        Its name, for messages.
    kind : {"px", "show", "config"}
        Which options it has.
    """
    parser = MagicArgumentParser(prog=name, argument_default=argparse.SUPPRESS)
    if kind in ("px", "config"):
        _add_execution(parser)
    if kind in ("px", "show"):
        _add_display(parser)
    if kind == "px":
        parser.add_argument("--local", action="store_true")
    return parser


def _add_execution(parser: Any) -> None:
    parser.add_argument("-b", "--block", dest="block", action="store_true")
    parser.add_argument("-a", "--noblock", dest="block", action="store_false")
    parser.add_argument("-t", "--targets")
    parser.add_argument("--verbose", dest="verbose", action="store_true")
    parser.add_argument("--no-verbose", dest="verbose", action="store_false")
    parser.add_argument("--stream", dest="stream", action="store_true")
    parser.add_argument("--no-stream", dest="stream", action="store_false")
    parser.add_argument("--progress-after", type=float, metavar="SECONDS")
    parser.add_argument("--signal-on-interrupt", metavar="SIGNAL")


def _add_display(parser: Any) -> None:
    parser.add_argument("-o", "--out", metavar="NAME")
    choices = ("type", "engine", "order")
    parser.add_argument("--group-outputs", choices=choices)
    parser.add_argument("-e", dest="group_outputs", action="store_const", const="engine")
    parser.add_argument("-r", dest="group_outputs", action="store_const", const="order")


def parse(parser: Any, line: str) -> Options:
    """Return the options in a line.

    Raises
    ------
    UsageError
        For an unknown option, and for a wrong value.
    """
    options: Options = parser.parse_args(arg_split(line), Options())
    return options


def targets_of(text: str) -> Any:
    """Return the engines that an option names.

    Raises
    ------
    UsageError
        When it names none.
    """
    text = text.strip()
    if text == "all":
        return text
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"(-?\d+)?(:(-?\d+)?){1,2}", text):
        return slice(*(int(part) if part else None for part in text.split(":")))
    if re.fullmatch(r"-?\d+(,-?\d+)+,?", text):
        return [int(part) for part in text.strip(",").split(",")]
    raise UsageError(
        "TARGETS must be 'all', an engine (1), several engines (0,2) or a slice (::2), "
        f"got {text!r}"
    )
