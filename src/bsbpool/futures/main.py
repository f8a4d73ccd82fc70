"""The run of an executor's pool on the main rank."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from bsbpool._core.comm.channel import Channel
from bsbpool.execution.main import MainRun
from bsbpool.futures.codes import EXECUTOR_CLOSED, NEXT_POOL, PRELUDE, PRELUDE_NUMBER
from bsbpool.run_context import RunContext
from bsbpool.serialization import Parcel
from bsbpool.worker_ranks import rank_of, worker_of

if TYPE_CHECKING:
    from bsbpool.execution.local_worker import LocalWorker
    from bsbpool.futures.worker import Session


class RunBackend(Protocol):
    """The part of a backend that the runs of its pools use."""

    n_workers: int

    @property
    def session(self) -> Session:
        """The state of a worker in this process, from the first to the last pool."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Guards the backend's state, and when the prelude is sent."""

    def prelude(self) -> Parcel | None:
        """Return the pickled data that workers load before their first call, or None."""

    def on_turn(self) -> None:
        """Do the work of the backend that is due; called in each iteration of the loop."""

    def is_last_pool(self) -> bool:
        """Whether no pool follows the current one."""


class ExecutorMainRun(MainRun):
    """The run of an executor's pool on the main rank.

    Workers beyond the `max_workers` of the executor are held back as spare ranks.

    Parameters
    ----------
    context : RunContext
        What the run uses of the pool.
    channel : Channel
        The channel to the workers.
    backend : RunBackend
        The backend of the executor.
    """

    def __init__(self, context: RunContext, channel: Channel, backend: RunBackend) -> None:
        self._backend = backend
        super().__init__(context, channel)
        self._loop.replies.unpickle_results = True  # once: only the future reads them
        self._prelude_is_old = False
        if backend.prelude() is not None:
            self._loop.set_prelude(PRELUDE_NUMBER)
        self._spare_ranks = [
            rank
            for worker in range(self._n_workers - 1, backend.n_workers - 1, -1)
            if (rank := rank_of(worker, self._n_ranks)) not in channel.lost
        ]
        self._hold_spare_ranks()

    @property
    def worker_ranks(self) -> list[int]:
        """The ranks that run calls: neither spare ranks nor ranks that have died."""
        without = {*self._spare_ranks, *self._channel.lost}
        return [rank for rank in self._context.worker_ranks if rank not in without]

    def _make_local_worker(self) -> LocalWorker:
        from bsbpool.futures.local_worker import make_local_worker

        return make_local_worker(self._context, self._channel, self._run_id, self._backend.session)

    def _hold_spare_ranks(self) -> None:
        for rank in self._spare_ranks:
            self._context.engine.set_available(worker_of(rank, self._n_ranks), False)

    def encode_job(
        self, number: int, worker: int
    ) -> tuple[int, int, bytes, list[memoryview]] | None:
        """Pickle a job. Every exception is the job's error, since no signal raises here."""
        self._renew_prelude_if_old()
        try:
            return super().encode_job(number, worker)
        except BaseException as error:
            self._context.events.job_failed(self._context.jobs[number], error)
            return None

    def encode_function(self, number: int) -> tuple[int, bytes, list[memoryview]]:
        """Return the mode, the pickle and the buffers of a function."""
        if number == PRELUDE_NUMBER and (prelude := self._backend.prelude()) is not None:
            return PRELUDE, *prelude
        return super().encode_function(number)

    def send_prelude_again(self) -> None:
        """Send the prelude to each worker before its next job; the caller holds the lock."""
        self._prelude_is_old = True
        self._loop.direct = False  # so that the loop calls `encode_job` for the next job

    def _renew_prelude_if_old(self) -> None:
        if self._prelude_is_old:
            self._renew_prelude()

    def _renew_prelude(self) -> None:
        with self._backend.lock:
            self._prelude_is_old = False
            self._allow_direct()
        # Workers are sent all functions again, and the prelude before them.
        self._functions.forget_all(PRELUDE_NUMBER)
        self._loop.set_prelude(PRELUDE_NUMBER)

    def _allow_direct(self) -> None:
        with self._backend.lock:
            super()._allow_direct()
            if self._prelude_is_old:
                self._loop.direct = False

    def rank_lost(self, rank: int, jobs: list[int]) -> None:
        """Handle the failure of a rank; a spare rank takes its place."""
        super().rank_lost(rank, jobs)
        if rank in self._spare_ranks:
            self._spare_ranks.remove(rank)
        elif self._spare_ranks:
            worker = worker_of(self._spare_ranks.pop(), self._n_ranks)
            self._context.engine.set_available(worker, True)

    def process_events(self) -> bool:
        """Report events; return True when there is nothing left to do."""
        self._backend.on_turn()
        if self._spare_ranks and self._context.engine.n_unavailable < len(self._spare_ranks):
            self._hold_spare_ranks()  # one came back from a long job of an earlier run
        return super().process_events()

    def _stop_code(self) -> int:
        return EXECUTOR_CLOSED if self._backend.is_last_pool() else NEXT_POOL
