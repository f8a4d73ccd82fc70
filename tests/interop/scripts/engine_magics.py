"""Scenes of the magics `%px` and others, in a shell of IPython on rank 0."""

from __future__ import annotations

import re
import signal
import threading
import time
from typing import Any

from IPython.terminal.interactiveshell import TerminalInteractiveShell
from IPython.utils.io import capture_output
from playing import show
from traitlets.config import Config

config = Config()
config.HistoryManager.enabled = False
config.TerminalInteractiveShell.simple_prompt = True
config.TerminalInteractiveShell.colors = "nocolor"
shell = TerminalInteractiveShell.instance(config=config)


def cell(code: str) -> list[str]:
    """Execute a cell; return the lines of its two streams, in the order of the engines."""
    with capture_output(display=False) as captured:
        shell.run_cell(code)
    return [*_lines(captured.stdout), *_lines(captured.stderr)]


def _lines(text: str) -> list[str]:
    """Return lines without the numbers of executions and terminal colours; sort output by head."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", re.sub(r"(Out\[\d+):\d+\]", r"\1]", text))
    return sorted(text.splitlines(), key=lambda line: not line.startswith("["))


def before_a_client() -> Any:
    return cell("%px 1")


def loaded() -> Any:
    cell("%load_ext bsbpool.integrations.ipyparallel")
    return cell("%px 6 * 7")


def a_client_offers_them() -> Any:
    shell.magics_manager.magics["line"].pop("px")
    cell("import bsbpool.integrations.ipyparallel as ipp; rc = ipp.Client(); v = rc[:]")
    return cell("%px 6 * 7")


def lines_and_cells() -> Any:
    cell("%px a = 5")
    return cell("%px print(a)"), cell("%%px\nb = a + 1\nprint('b', b)\nb")


def braces_are_not_expanded() -> Any:
    cell("word = 'client'")
    cell("%px word = 'engine'")
    return cell('%px f"{word}"')


def options() -> Any:
    chosen = [cell(f"%%px -t {targets}\na") for targets in ("1", "::2", "0,2", "all", "-1")]
    return chosen, cell("%%px --verbose -t 0\na"), cell("%%px -t none\na")


def kept_result() -> Any:
    cell("%%px -o kept -t 1\na")
    return cell("kept.get()[0] if isinstance(kept.get(), list) else kept.get().source")


def not_blocking() -> Any:
    return cell("%%px --noblock\nprint('late'); a"), cell("%pxresult")


def here_as_well() -> Any:
    return cell("%%px --local\nlocal = 3\nlocal"), cell("local")


def errors() -> Any:
    return cell("%px 1 / 0"), cell("%%px --no-stream -t 0\n1 / 0"), cell("%px a")


def output_arrives_early() -> Any:
    """Return whether the first line was shown while the code still ran."""
    seen: list[float] = []

    def look() -> None:
        while "early" not in captured.stdout:
            time.sleep(0.01)
        seen.append(time.monotonic())

    with capture_output(display=False) as captured:
        thread = threading.Thread(target=look)
        thread.start()
        shell.run_cell("%%px -t 0\nimport time\nprint('early')\ntime.sleep(0.7)")
        ended = time.monotonic()
        thread.join()
    return ended - seen[0] > 0.3


def automatic() -> Any:
    shown = [cell("%autopx"), cell("c = 9\nc"), cell("1 / 0"), cell("%pxconfig -t 0"), cell("c")]
    return shown, cell("%autopx"), cell("c"), cell("%pxconfig -t all")


def configured() -> Any:
    cell("%pxconfig --verbose --noblock -t 1:")
    first = cell("%px a")
    return first, cell("%pxresult"), cell("%pxconfig --no-verbose --block -t all"), cell("%px a")


def with_suffix() -> Any:
    cell("rc.activate(0, suffix='0'); rc[1:].activate('_rest')")
    return cell("%px0 a"), cell("%%px_rest\na"), cell("%px a"), cell("%pxresult0")


def interrupted() -> Any:
    began = time.monotonic()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    shown = cell("%px time.sleep(60)")
    return time.monotonic() - began < 10, shown[:1], cell("%px a")


def misused() -> Any:
    return cell("%%px --nothing\na"), cell("%px9 a")


if __name__ == "__main__":
    show(
        before_a_client, loaded, a_client_offers_them, lines_and_cells, braces_are_not_expanded,
        options, kept_result, not_blocking, here_as_well, errors, output_arrives_early, automatic,
        configured, with_suffix, interrupted, misused,
    )  # fmt: skip
