"""A root that runs calls of its executor, too, in a thread beside that of the backend."""

from __future__ import annotations

import os
from functools import partial

from bsbpool._core.comm.channel import Channel
from bsbpool.execution.local_worker import LocalRun, LocalWorker
from bsbpool.futures.chunks import worker_process
from bsbpool.futures.worker import ExecutorWorkerRun, Session
from bsbpool.run_context import RunContext


class LocalExecutorRun(LocalRun, ExecutorWorkerRun):
    """The run of an executor's pool on the worker in the process of the root."""


def make_local_worker(
    context: RunContext, channel: Channel, run_id: int, session: Session
) -> LocalWorker:
    """Return what runs calls in this process.

    Parameters
    ----------
    context : RunContext
        What the run uses of the pool.
    channel : Channel
        The channel of the root.
    run_id : int
        The run of the pool on this channel.
    session : Session
        The state of this worker.
    """
    worker_process.rank, worker_process.pid = 0, os.getpid()
    make_run = partial(LocalExecutorRun, session=session)
    return LocalWorker(context, channel, run_id, make_run, beside=True)
