"""A run that is logged, and that the signal of `state_dump` describes."""

from __future__ import annotations

import os
import time

from bsbpool.naming import duration_text
from bsbpool.process import logs_if_used
from bsbpool.run_context import RunContext
from bsbpool.state_dump import SETTING, described_by, install


def execute(context: RunContext) -> None:
    """Take part in the run of a pool until it has ended."""
    if not context.run.parallel and os.environ.get(SETTING):
        install(context.comm.get_rank(), context.comm.get_size())
    _log(
        context,
        f"the run begins, with {len(context.jobs)} jobs so far, on {context.comm.get_size()} ranks",
    )
    began = time.monotonic()
    try:
        with described_by(context.run.describe):
            context.run.execute()
    except BaseException as error:
        _log_end(context, began, f" with {type(error).__name__}")
        raise
    _log_end(context, began, "")


def _log_end(context: RunContext, began: float, how: str) -> None:
    if logs_if_used() is not None:
        from bsbpool.execution.run_state import counts_text

        took = duration_text(time.monotonic() - began)
        _log(context, f"the run ends after {took}{how}; {counts_text(context)}")


def _log(context: RunContext, text: str) -> None:
    logs = logs_if_used()
    if logs is not None:
        logs.logger("runs").info("pool %d: %s", context.pool_id, text)
