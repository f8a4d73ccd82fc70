"""Ends the workers of a program when the program ends."""

from __future__ import annotations

from functools import partial
from typing import Any

from bsbpool._core.comm.channel import Channel
from bsbpool.execution.main import MainRun
from bsbpool.futures.codes import PROGRAM_ENDED
from bsbpool.futures.executor_pool import ExecutorPool
from bsbpool.run_context import RunContext
from bsbpool.services.channels import channel_of


class ShutdownRun(MainRun):
    """A run without jobs that sends the workers the program's exit code.

    Parameters
    ----------
    context : RunContext
        What the run uses of the pool.
    channel : Channel
        The channel to the workers.
    code : int
        The exit code.
    """

    def __init__(self, context: RunContext, channel: Channel, code: int) -> None:
        super().__init__(context, channel)
        self._code = code

    def close(self) -> None:
        """End the run as one that was not aborted, so that workers receive the stop code."""
        self._stop(aborted=False)
        super().close()

    def _stop_code(self) -> int:
        return PROGRAM_ENDED + self._code


def end_workers(service: Any, code: int) -> Channel:
    """Make the other ranks exit with a code; return the channel to them."""
    with ExecutorPool(service, partial(ShutdownRun, code=code & 0xFF)):
        channel: Channel = channel_of(service.get_communicator())
    return channel
