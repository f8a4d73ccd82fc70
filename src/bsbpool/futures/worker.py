"""A rank that runs the calls of executors."""

from __future__ import annotations

import os
import pickle
from functools import partial
from typing import Any

from bsbpool._core.comm.channel import Channel
from bsbpool.by_name import main_runs_alone
from bsbpool.execution.functions import CALL, EXECUTE
from bsbpool.execution.worker import WorkerRun
from bsbpool.futures.chunks import worker_process
from bsbpool.futures.codes import (
    EXECUTOR_CLOSED,
    NEXT_POOL,
    PRELUDE,
    PROGRAM_ENDED,
    SCRIPT_CALL,
    UNIT,
)
from bsbpool.futures.executor_pool import ExecutorPool
from bsbpool.futures.initializer import InitializerState
from bsbpool.futures.main_program import create_main_module, extend_search_path
from bsbpool.run_context import RunContext
from bsbpool.script.namespace import ReceivedCall, namespace


class Session:
    """State of a worker from the first to the last pool of an executor.

    Attributes
    ----------
    initializer : InitializerState
        The initializer that was run.
    stop_code : int
        The stop code of the last pool, see `codes`.
    """

    def __init__(self) -> None:
        self.initializer = InitializerState()
        self.stop_code = NEXT_POOL


def serve_executor(service: Any) -> int | None:
    """Run calls for rank 0 until its executor is shut down.

    Returns
    -------
    int or None
        The exit code, when the program has ended.
    """
    session = Session()
    worker_process.rank, worker_process.pid = service.get_rank(), os.getpid()
    while session.stop_code == NEXT_POOL:
        with ExecutorPool(service, partial(ExecutorWorkerRun, session=session)) as pool:
            pool.execute()
    return None if session.stop_code == EXECUTOR_CLOSED else session.stop_code - PROGRAM_ENDED


def serve_program(service: Any, file: str | None, module: str | None) -> int:
    """Run the calls of all executors of rank 0 until its program ends.

    Parameters
    ----------
    service : MPIService
        This rank and the others.
    file, module : str or None
        The main script or module of the program, see `MainProgram`.

    Returns
    -------
    int
        The exit code.
    """
    main_runs_alone()
    # What the program defines is unpickled into an empty module, not into that of bsbpool.run.
    create_main_module(file, module)
    while (code := serve_executor(service)) is None:
        pass
    return code


class ExecutorWorkerRun(WorkerRun):
    """The run of an executor's pool on a worker.

    Parameters
    ----------
    context : RunContext
        What the run uses of the pool.
    channel : Channel
        The channel to the main rank.
    session : Session
        The state of the worker.
    """

    def __init__(self, context: RunContext, channel: Channel, session: Session) -> None:
        super().__init__(context, channel)
        self._session = session

    def _conclude(self, aborted: bool) -> None:
        self._session.stop_code = EXECUTOR_CLOSED if aborted else self._loop.stop_code

    def load_function(self, mode: int, payload: Any, buffers: list[Any]) -> tuple[Any, int]:
        """Unpickle a function, a unit of globals, or the prelude."""
        if mode == UNIT:
            worker_process.explain = namespace.explain
            namespace.on_change = worker_process.functions.clear
            return namespace.receive(payload, buffers), UNIT
        if mode == SCRIPT_CALL:
            return ReceivedCall(payload, buffers), CALL
        if mode != PRELUDE:
            return super().load_function(mode, payload, buffers)
        path, initializer = pickle.loads(payload)
        if path is not None:
            extend_search_path(path)
        if initializer is not None:
            self._session.initializer.run_once(initializer, buffers)
        if self._session.initializer.error is not None:
            self._loop.direct = False  # so that the loop calls `run_job`
        return None, EXECUTE

    def run_job(
        self, number: int, function: tuple[Any, int], flags: int, payload: Any, buffers: list[Any]
    ) -> tuple[int, bytes | None, list[memoryview]]:
        """Run a call, unless the initializer failed."""
        if self._session.initializer.error is not None:
            return self.job_failed(number, function, self._session.initializer.error)
        if isinstance(function[0], ReceivedCall):
            try:
                function[0].enter()  # before the arguments are unpickled, which may use globals
            except BaseException as error:
                return self.job_failed(number, function, error)
        return super().run_job(number, function, flags, payload, buffers)

    def job_failed(
        self, number: int, function: tuple[Any, int], error: BaseException
    ) -> tuple[int, bytes, list[memoryview]]:
        """Return the reply for a call that raised."""
        namespace.explain(error)
        return super().job_failed(number, function, error)
