"""A run that is logged, and that the signal of `state_dump` describes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bsbpool.logs import logger
from bsbpool.run_context import RunContext
from bsbpool.state_dump import described_by, install, seconds_text

_log = logger("runs")


def execute(context: RunContext) -> None:
    """Take part in the run of a pool until it has ended."""
    if not context.run.parallel:
        install(context.comm.get_rank(), context.comm.get_size())
    with described_by(context.run.describe), _logged(context):
        context.run.execute()


@contextmanager
def _logged(context: RunContext) -> Iterator[None]:
    began = time.monotonic()
    _log.info(
        "pool %d: the run begins, with %d jobs so far, on %d ranks",
        context.pool_id, len(context.jobs), context.comm.get_size(),
    )  # fmt: skip
    try:
        yield
    except BaseException as error:
        took, kind = seconds_text(time.monotonic() - began), type(error).__name__
        _log.info(
            "pool %d: the run ends after %s with %s; %s",
            context.pool_id, took, kind, _counts_text(context),
        )  # fmt: skip
        raise
    took = seconds_text(time.monotonic() - began)
    _log.info("pool %d: the run ends after %s; %s", context.pool_id, took, _counts_text(context))


def _counts_text(context: RunContext) -> str:
    from bsbpool.execution.run_state import counts_text

    return counts_text(context)
