"""The options of ``bsbpool bsb`` about going on after a run was cut off."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Mapping
from typing import Any

from bsbpool import arguments
from bsbpool.leaving.deadlines import end_of

NOT_WITH_JOURNAL = (
    "--append and --redo cannot be used with --journal: data of other runs could not be told from "
    "those of a run that was cut off"
)


@dataclasses.dataclass(frozen=True)
class ResumeOptions:
    """The options, with absolute paths and times.

    Attributes
    ----------
    journal : str
        The journal.
    checkpoint_file : str or None
        Where the network is copied to between phases.
    settings : mapping
        The settings of all pools: `journal`, `deadline`, `grace`.
    clear : bool
        Whether the command has BSB's option ``--clear``.
    """

    journal: str
    checkpoint_file: str | None
    settings: Mapping[str, Any]
    clear: bool


def make_options(given: Mapping[str, str | None], bsb_arguments: list[str]) -> ResumeOptions | None:
    """Return the options of a command line; None if there is no journal.

    Raises
    ------
    ValueError
        If a value is not allowed, or an option needs another one.
    """
    journal = given["journal"]
    if journal is None:
        others = [name for name, value in given.items() if value is not None]
        if others:
            raise ValueError(f"--{others[0].replace('_', '-')} needs --journal FILE")
        return None
    if "compile" not in bsb_arguments:
        raise ValueError("--journal is an option of `bsbpool bsb compile`")
    if {"--append", "--redo", "-a", "-r"} & set(bsb_arguments):
        raise ValueError(NOT_WITH_JOURNAL)
    settings: dict[str, Any] = {"journal": os.path.abspath(journal)}
    if given["deadline"] is not None:
        # One time for all pools of the command.
        settings["deadline"] = datetime.datetime.fromtimestamp(end_of(_deadline(given["deadline"])))
    if given["grace"] is not None:
        settings["grace"] = arguments.seconds("--grace", _number("--grace", given["grace"]))
    checkpoint = given["checkpoint_file"]
    return ResumeOptions(
        settings["journal"],
        None if checkpoint is None else os.path.abspath(checkpoint),
        settings,
        bool({"--clear", "-w"} & set(bsb_arguments)),
    )


def _deadline(text: str) -> Any:
    return text if text in ("slurm", "pbs") else _number("--deadline", text)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        allowed = "a number of seconds" + (", slurm or pbs" * (name == "--deadline"))
        raise ValueError(f"{name} must be {allowed}, got {text!r}") from None
