"""A rank that works for an executor."""

from __future__ import annotations

import os
import pickle
from typing import Any

from bsbpool.execution.functions import CALL, EXECUTE
from bsbpool.execution.worker import WorkerRun
from bsbpool.futures import chunks
from bsbpool.futures.pools import ExecutorPool
from bsbpool.futures.preparing import Prepared
from bsbpool.futures.program import extend_search_path
from bsbpool.script.namespace import ReceivedCall, namespace

PREPARE, UNIT, SCRIPT_CALL = 2, 3, 4
"""Modes of the prelude, of globals of the script and of a function that sees them; see
`execution.functions`."""

FOLLOWED, OVER, SHUT_DOWN = 0, 1, 2
"""What the rank that submits says at the end of a pool: that another one follows, that the executor
has ended, or (with the exit code added) that the program has."""


class Session:
    """What a rank knows from the first pool of an executor to the last.

    Attributes
    ----------
    stop_code : int
        What was call options at the end of the last pool.
    """

    def __init__(self) -> None:
        self.prepared = Prepared()
        self.stop_code = FOLLOWED


def serve(service: Any) -> int | None:
    """Run calls for rank 0 until its executor ends.

    Returns
    -------
    int or None
        The exit code, when the program is over.
    """
    session = Session()
    chunks.here.rank, chunks.here.process = service.get_rank(), os.getpid()
    while session.stop_code == FOLLOWED:
        with ExecutorPool(service, ServingRun, session=session) as pool:
            pool.execute()
    return None if session.stop_code == OVER else session.stop_code - SHUT_DOWN


class ServingRun(WorkerRun):
    """The run of a pool of an executor, on a rank that works."""

    def __init__(self, pool: ExecutorPool, channel: Any) -> None:
        super().__init__(pool.run_context, channel)
        assert pool.session is not None
        self._session = pool.session

    def _conclude(self, aborted: bool) -> None:
        self._session.stop_code = OVER if aborted else self._loop.stop_code

    def load(self, mode: int, payload: Any, buffers: list[Any]) -> tuple[Any, int]:
        """Unpickle a function, or prepare for all of them."""
        if mode == UNIT:
            chunks.here.explain = namespace.explain
            namespace.on_change = chunks.here.functions.clear
            return namespace.receive(payload, buffers), UNIT
        if mode == SCRIPT_CALL:
            return ReceivedCall(payload, buffers), CALL
        if mode != PREPARE:
            return super().load(mode, payload, buffers)
        path, initializer = pickle.loads(payload)
        if path is not None:
            extend_search_path(path)
        if initializer is not None:
            self._session.prepared.by(initializer, buffers)
        if self._session.prepared.error is not None:
            self._loop.direct = False  # so that `run` is asked
        return None, EXECUTE

    def run(
        self, number: int, function: tuple[Any, int], flags: int, payload: Any, buffers: list[Any]
    ) -> tuple[int, bytes | None, list[memoryview]]:
        """Run a call, unless the initializer failed."""
        if self._session.prepared.error is not None:
            return self.failed(number, function, self._session.prepared.error)
        if isinstance(function[0], ReceivedCall):
            try:
                function[0].enter()  # the arguments may need what it puts in place
            except BaseException as error:
                return self.failed(number, function, error)
        return super().run(number, function, flags, payload, buffers)

    def failed(
        self, number: int, function: tuple[Any, int], error: BaseException
    ) -> tuple[int, bytes, list[memoryview]]:
        """Return what to reply when a call raised."""
        namespace.explain(error)
        return super().failed(number, function, error)
