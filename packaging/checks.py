"""A list of checks, and the table that it prints."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

LINES_OF_OUTPUT = 15


class Fault(Exception):
    """A check found a fault.

    Parameters
    ----------
    fault : str
        The fault.
    remedy : str
        The step that corrects it.
    """

    def __init__(self, fault: str, remedy: str = "") -> None:
        super().__init__(fault)
        self.fault, self.remedy = fault, remedy


@dataclass
class Checks:
    """The checks that ran, each with its fault."""

    results: list[tuple[str, Fault | None]] = field(default_factory=list)

    def run(self, name: str, check: Callable[[], object]) -> bool:
        """Run a check and print its result; return whether it found no fault."""
        begun = time.monotonic()
        fault = None
        try:
            check()
        except Fault as error:
            fault = error
        except (OSError, subprocess.TimeoutExpired) as error:
            fault = Fault(f"{type(error).__name__}: {error}")
        self.results.append((name, fault))
        word = "OK" if fault is None else fault.fault
        print(f"{name}: {word} ({time.monotonic() - begun:.0f} s)", flush=True)
        return fault is None

    @property
    def failed(self) -> bool:
        return any(fault is not None for _, fault in self.results)

    def table(self) -> str:
        """Return a table of all checks, with faults and remedies below it."""
        width = max((len(name) for name, _ in self.results), default=0)
        rows = [f"{name:{width}}  {'OK' if fault is None else 'FAULT'}" for name, fault in self.results]
        for name, fault in self.results:
            if fault is not None:
                rows += ["", f"{name}: {fault.fault}"]
                if fault.remedy:
                    rows.append(f"  Remedy: {fault.remedy}")
        return "\n".join(rows)


def joined(faults: Iterable[str], remedy: str = "") -> None:
    """Raise one `Fault` for several faults; none if there are none."""
    faults = list(faults)
    if faults:
        raise Fault("; ".join(faults), remedy)


def run(
    command: Sequence[object],
    *,
    remedy: str = "",
    timeout: float = 900,
    env: dict[str, str] | None = None,
    cwd: object = None,
) -> str:
    """Run a program; return its output, or raise a `Fault` with the end of it."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        env=env,
        cwd=None if cwd is None else str(cwd),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-LINES_OF_OUTPUT:])
        print(end, file=sys.stderr)
        shown = " ".join(words[:6])
        last = end.splitlines()[-1] if end else "no output"
        raise Fault(f"{shown} ... failed with exit code {done.returncode}: {last}", remedy)
    return done.stdout
