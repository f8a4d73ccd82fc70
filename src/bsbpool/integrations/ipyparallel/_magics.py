"""Magics of IPython that execute code on the engines: `%px` and others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.core.magic import no_var_expand

from bsbpool.integrations.ipyparallel import error
from bsbpool.integrations.ipyparallel._magic_options import (
    Options,
    parse,
    parser_of,
    targets_of,
)
from bsbpool.integrations.ipyparallel._metadata import Metadata
from bsbpool.integrations.ipyparallel._show import display_outputs
from bsbpool.integrations.ipyparallel._streaming import wait_and_stream

GetView = Callable[[Any], Any]
"""Returns the view of magics, given the one that they have used before, or None."""


def load(shell: Any, get_view: GetView) -> None:
    """Register the magics without a suffix."""
    Magics(shell, get_view, "").register()


def offer(get_view: GetView) -> None:
    """Do the same where IPython runs, unless there are such magics already."""
    shell = get_ipython()  # type: ignore[no-untyped-call, unused-ignore]
    if shell is not None and shell.find_line_magic("px") is None:
        load(shell, get_view)


def activate(view: Any, suffix: str = "") -> None:
    """Register the magics of a view; do nothing where IPython does not run.

    Parameters
    ----------
    view : DirectView
        The view.
    suffix : str
        Added to the names of the magics.
    """
    shell = get_ipython()  # type: ignore[no-untyped-call, unused-ignore]
    if shell is not None:
        Magics(shell, lambda _: view, suffix).register()


class Magics:
    """The magics of one view.

    Parameters
    ----------
    shell : InteractiveShell
        The shell of IPython.
    get_view : callable
        Returns the view.
    suffix : str
        Added to the names of the magics.

    Attributes
    ----------
    last_result : AsyncResult or None
        The result of the last code.
    """

    def __init__(self, shell: Any, get_view: GetView, suffix: str) -> None:
        self._shell, self._get_view, self._suffix = shell, get_view, suffix
        self._view: Any = None
        self._defaults = Options()
        self._px_options = parser_of(f"%%px{suffix}", "px")
        self._result_options = parser_of(f"%pxresult{suffix}", "show")
        self._config_options = parser_of(f"%pxconfig{suffix}", "config")
        self.last_result: Any = None

    @property
    def view(self) -> Any:
        """The view."""
        self._view = self._get_view(self._view)
        return self._view

    def register(self) -> None:
        """Make the magics available, in place of others with these names."""
        magics = [
            ("line", "px", self.px),
            ("cell", "px", self.cell_px),
            ("line", "pxresult", self.pxresult),
            ("line", "pxconfig", self.pxconfig),
            ("line", "autopx", self.autopx),
        ]
        for kind, name, method in magics:
            self._shell.register_magic_function(method, kind, name + self._suffix)

    # ------------------------------------------------------------ the magics

    @no_var_expand  # type: ignore[untyped-decorator, unused-ignore]
    def px(self, line: str = "") -> Any:
        """Execute a line of code on the engines.

        ::

            %px a = 5
            %px print(a)
        """
        return self._execute(line, Options())

    def cell_px(self, line: str = "", cell: str | None = None) -> Any:
        """Execute a cell on the engines.

        ::

            %%px [--block | --noblock] [-t TARGETS] [-o NAME] [--local] [--stream | --no-stream]
                 [--group-outputs {type,engine,order} | -e | -r] [--verbose | --no-verbose]
                 [--progress-after SECONDS] [--signal-on-interrupt SIGNAL]

        ``--noblock`` returns an `AsyncResult` at once, ``-o`` keeps it under a name, ``--local``
        executes the cell here as well. TARGETS are ``all``, an engine, several engines (``0,2``)
        or a slice (``::2``).

        While the cell runs, its output is shown as it arrives. Ctrl-C cancels it on the engines,
        unless SIGNAL is 0.
        """
        if cell is None:
            raise UsageError(f"%%px{self._suffix} needs code in the lines below it")
        return self._execute(cell, parse(self._px_options, line))

    def pxresult(self, line: str = "") -> None:
        """Show the output of the last code; wait for it first.

        ::

            %pxresult [-o NAME] [--group-outputs {type,engine,order} | -e | -r]
        """
        options = parse(self._result_options, line)
        if self.last_result is None:
            raise UsageError(f"There is no result: no %px{self._suffix} was executed yet")
        self._save(options, self.last_result)
        self._show(self.last_result, options)

    def pxconfig(self, line: str = "") -> None:
        """Set the defaults of the other magics.

        ::

            %pxconfig [--block | --noblock] [-t TARGETS] [--verbose | --no-verbose]
                      [--stream | --no-stream] [--progress-after SECONDS]
                      [--signal-on-interrupt SIGNAL]
        """
        options = parse(self._config_options, line)
        if options.targets is not None:
            self.view.targets = self._targets(options.targets)
        if options.block is not None:
            self.view.block = options.block
        options.targets = options.block = None  # the view has them
        self._defaults = options.or_else(self._defaults)

    def autopx(self, line: str = "") -> None:
        """Begin to execute all cells on the engines; or end it."""
        transforms = self._shell.input_transformers_cleanup
        if self._to_engines in transforms:
            transforms.remove(self._to_engines)
            print(f"%autopx{self._suffix} disabled")
        else:
            transforms.insert(0, self._to_engines)
            print(f"%autopx{self._suffix} enabled")

    def _to_engines(self, lines: list[str]) -> list[str]:
        """Return the lines of a cell as a cell that is executed on the engines."""
        code = "".join(lines).strip()
        here = tuple(f"%{name}{self._suffix}" for name in ("autopx", "pxresult", "pxconfig"))
        if not code or code.startswith(here):
            return lines
        return [f"%%px{self._suffix} --no-stream\n", *lines]

    # Not for the question whether a cell is complete.
    _to_engines.has_side_effects = True  # type: ignore[attr-defined]

    # ------------------------------------------------------------ execution

    def _targets(self, text: str) -> Any:
        return self.view.client.direct_view(targets_of(text)).targets

    def _execute(self, code: str, options: Options) -> Any:
        view = self.view
        options = options.or_else(self._defaults)
        block = view.block if options.block is None else options.block
        targets = view.targets if options.targets is None else self._targets(options.targets)
        if options.verbose:
            print(f"{'Parallel' if block else 'Async parallel'} execution on engine(s): {targets}")
        result = view.execute(code, silent=False, targets=targets, block=False)
        self.last_result = result
        self._save(options, result)
        if options.local:
            self._shell.run_cell(code)
        if not block:
            return result
        if options.stream is False:
            self._show(result, options)
        else:
            self._stream(result, options)
        return None

    def _save(self, options: Options, result: Any) -> None:
        if options.out is not None:
            self._shell.user_ns[options.out] = result

    def _show(self, result: Any, options: Options) -> None:
        """Show the output of code that has ended; raise its error."""
        result.wait()
        metadata = [task.metadata() for task in result.tasks]
        display_outputs(metadata, False, options.group_outputs or "type")
        result.get()

    def _stream(self, result: Any, options: Options) -> None:
        """Show the output of code while it runs, and its errors."""
        try:
            wait_and_stream(result, options.progress_after)
        except KeyboardInterrupt:
            self._interrupt(result, options)
        metadata = [
            Metadata(task.metadata(), stdout="", stderr="")  # they are shown already
            for task in result.tasks
        ]
        display_outputs(metadata, False, options.group_outputs or "type")
        try:
            result.get()
        except error.RemoteError as raised:
            raise error.AlreadyDisplayedError(raised) from None

    @staticmethod
    def _interrupt(result: Any, options: Options) -> None:
        if options.signal_on_interrupt == "0":
            raise KeyboardInterrupt
        sys.stderr.write("Interrupted; the code is cancelled on the engines.\n")
        result.abort(running=True)
        wait_and_stream(result, None)
