"""Workers that stay while the program runs, and serve one executor after another.

Under ``python -m bsbpool.run`` these are the other ranks, else local processes that were spawned.
"""

from __future__ import annotations

import os
from typing import Any

from bsbpool.futures.backend import Backend
from bsbpool.futures.main_program import SearchPath
from bsbpool.services.channels import flush_stdout

GRACE_SECONDS = 1.0
"""How long to wait at the end of the program for ranks that are inside calls."""


class WorkerGroup:
    """Ranks that serve one executor after another.

    Parameters
    ----------
    service : MPIService
        The communicator of this rank, which is rank 0, and the workers.

    Attributes
    ----------
    path : SearchPath
        The search path of the program; the workers started with the same one.
    """

    def __init__(self, service: Any) -> None:
        self.service = service
        self.path = SearchPath()
        self._backend: Backend | None = None
        self._closed = False
        self._process = os.getpid()

    def wait_until_free(self) -> None:
        """Wait for the calls of the executor that used the workers before.

        Raises
        ------
        RuntimeError
            When that executor has not been shut down, or the workers have ended.
        """
        if self._closed:
            raise RuntimeError("The program has ended; its workers run no more calls")
        if self._backend is None:
            return
        if self._backend.reclaimable:
            self._backend.close()
        if not self._backend.closed:
            raise RuntimeError(
                "Another executor uses the workers; shut it down, or leave its `with` block, first"
            )
        self._backend.join()

    def assign(self, backend: Backend) -> None:
        """Set the backend that uses the workers from now on."""
        self._backend = backend

    def close(self, code: int = 0) -> None:
        """End the workers with an exit code; wait for calls that run only if it is 0."""
        from bsbpool.futures.shutdown import end_workers

        self._closed = True
        if os.getpid() != self._process:  # a forked child
            return
        if self._backend is not None:
            if code:
                self._backend.abort()
            self._backend.close()
            self._backend.join()
        channel = end_workers(self.service, code)
        channel.drain(GRACE_SECONDS)
        if channel.away and channel.await_returns(GRACE_SECONDS):
            flush_stdout()
            self.service.get_communicator().Abort(code or 1)
