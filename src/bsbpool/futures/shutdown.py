"""Ending the ranks that serve a program, when the program is over."""

from __future__ import annotations

from typing import Any

from bsbpool.execution.main import MainRun
from bsbpool.futures.pools import ExecutorPool
from bsbpool.futures.serving import SHUT_DOWN


class Shutdown(MainRun):
    """The run of a pool that only tells the other ranks that the program is over."""

    code = 0

    def _stop_code(self) -> int:
        return SHUT_DOWN + self.code


def shut_down(service: Any, code: int) -> Any:
    """Let the other ranks end with an exit code; return the channel."""
    with ExecutorPool(service, lambda pool, channel: Shutdown(pool.run_context, channel)) as pool:
        run: Any = pool.run_context.run
        run.code = code & 0xFF
        run._stop(aborted=False)
    return run._channel
