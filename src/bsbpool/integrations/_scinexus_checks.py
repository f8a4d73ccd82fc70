"""Checks of the arguments of scinexus's parallel backends."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

IF_SERIAL = ("raise", "ignore", "warn")


def count(name: str, value: Any) -> int | None:
    """Check a positive integer or None."""
    # Users match the beginnings of these messages; they are those of scinexus's own backends.
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int or None, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} ({value}) must be greater than 0")
    return int(value)


def warn_of_max_workers(max_workers: int | None, size: int) -> None:
    """Warn if the requested number of workers is not the actual one."""
    if max_workers is not None and max_workers != size:
        warnings.warn(
            f"max_workers ({max_workers}) is not the {size} worker{'s' * (size > 1)} of this "
            f"program. `mpiexec -n {max_workers + 1}` starts {max_workers}; later the number "
            "cannot change, so this request is not used.",
            UserWarning,
            stacklevel=4,
        )


def check_serial(if_serial: Any, n_workers: int) -> None:
    """Raise or warn, as `if_serial` says, if there is one worker only."""
    choice = if_serial.lower() if isinstance(if_serial, str) else if_serial
    if choice not in IF_SERIAL:
        choices = ", ".join(map(repr, IF_SERIAL))
        raise ValueError(f"if_serial: invalid choice {if_serial!r}; it must be one of {choices}")
    if n_workers > 1 or choice == "ignore":
        return
    message = (
        "Execution in serial: there is one worker, so the calls run one after the other. Start the "
        "program with `mpiexec -n 3`, or more, for several workers."
    )
    if choice == "raise":
        raise RuntimeError(message)
    warnings.warn(message, UserWarning, stacklevel=4)
