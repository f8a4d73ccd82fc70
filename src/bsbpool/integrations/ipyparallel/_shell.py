"""The IPython shell of an engine: magics, and objects that are displayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Any as AnyTrait
from traitlets import Type


class EngineDisplayHook(DisplayHook):  # type: ignore[misc]
    """Does not write the value of an expression: it is returned with the result."""

    def __call__(self, result: Any = None) -> None:
        """Keep the value as `_`."""
        if result is not None:
            self.update_user_ns(result)
            if self.exec_result is not None:
                self.exec_result.result = result


class EnginePublisher(DisplayPublisher):  # type: ignore[misc]
    """Passes displayed objects to a function."""

    receive = AnyTrait()

    def publish(self, data: Any, metadata: Any = None, *ignored: Any, **further: Any) -> None:
        """Pass an object on."""
        self.receive(data, metadata)

    def clear_output(self, wait: bool = False) -> None:
        """Do nothing."""


class EngineShell(InteractiveShell):  # type: ignore[misc]
    """Raises no error itself: `run_cell` returns it."""

    displayhook_class = Type(EngineDisplayHook)
    display_pub_class = Type(EnginePublisher)

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        """Do nothing: the error is returned with the result."""

    def enable_gui(self, gui: Any = None) -> None:
        """Do nothing: an engine has no event loop."""


def make_shell(
    namespace: dict[str, Any], receive: Callable[[dict[str, Any], Any], None]
) -> InteractiveShell:
    """Return a shell.

    Parameters
    ----------
    namespace : dict
        The namespace of its code.
    receive : callable
        Called with each object that is displayed, as a MIME bundle and its metadata.
    """
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor"
    config.InteractiveShell.ast_node_interactivity = "last_expr"
    shell = EngineShell.instance(config=config, user_ns=namespace)
    publisher: Any = shell.display_pub
    publisher.receive = receive
    return shell
