"""The large data of a run on the main rank: which results are sent as references."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from bsbpool import exceptions
from bsbpool._core.jobs.handle import PickledResult, RemoteResult
from bsbpool._core.runtime.data_directory import DataDirectory
from bsbpool._core.scheduling.engine import Engine
from bsbpool.dataflow import can_rerun, lost_text, sending
from bsbpool.execution.large_functions import (
    LargeFunctions,
    has_large_state,
    sent_function,
    with_function,
)
from bsbpool.jobs import Job
from bsbpool.serialization import Parcel, dumps
from bsbpool.services.node import nodes_of
from bsbpool.status import FINISHED

if TYPE_CHECKING:
    from bsbpool.broadcasting import BroadcastData

LARGE = 64 * 1024
"""Size in bytes from which a result is sent to a worker once, and not with each job."""
NODE_SHIFT = 40
"""The ids of the shared memory of node n are those of the data, less n + 1 times a power of 2."""


class RunData:
    """Pickles arguments that refer to the results of other jobs.

    Parameters
    ----------
    engine : Engine
        The scheduling tables.
    directory : DataDirectory
        Which workers have which data.
    jobs : list of Job
        The jobs of the pool, by number.
    hosts : sequence of str
        The host of each rank.
    """

    def __init__(
        self, engine: Engine, directory: DataDirectory, jobs: list[Job[Any]], hosts: Sequence[str]
    ) -> None:
        self._directory = directory
        self._jobs = jobs
        self._hosts = hosts
        self._broadcast: dict[int, BroadcastData] = {}
        self._functions = LargeFunctions(lambda job: engine.status(job) in FINISHED, self.drop)
        self._leaders: dict[int, int] = {}  # the worker that makes the shared memory of a node

    @functools.cached_property
    def _nodes(self) -> list[int]:
        """The number of the node of each rank, with rank 0 also at the end: see `worker_ranks`."""
        nodes = nodes_of(self._hosts)
        return [*nodes, *nodes[:1]]

    def dumps(self, job: Job[Any], arguments: Any, worker: int) -> Parcel:
        """Pickle the arguments of a job for a worker, and let it get the data that they refer to.

        Parameters
        ----------
        job : Job
            The job.
        arguments : tuple
            The arguments of its `execute`, or of its function.
        worker : int
            The worker.

        Raises
        ------
        DataLostError
            If a result does not exist any more.
        """
        f = sent_function(job, arguments)
        if has_large_state(f):
            assert job.number is not None
            arguments = with_function(arguments, self._functions.replaced(f, job.number))
        elif not job.has_inputs:
            return dumps(arguments)
        return self.pickled(job, worker, lambda: dumps(arguments))

    def pickled(self, job: Job[Any], worker: int, pickle: Callable[[], Parcel]) -> Parcel:
        """Call a function that pickles the arguments of a job, as `dumps` does."""
        referred: list[int] = []

        def refer(job: Job[Any], outcome: Any) -> int | None:
            if not self._can_refer(job, outcome):
                return None
            assert job.number is not None
            referred.append(job.number)
            return self._directory.key_of(job.number)

        def refer_data(data: BroadcastData) -> tuple[int, int | None, bool]:
            return self._refer_data(data, worker, referred)

        with sending(job.required_jobs, refer, refer_data):
            parcel = pickle()
        for id in referred:
            self._directory.require(id, worker)
        return parcel

    def _refer_data(
        self, data: BroadcastData, worker: int, referred: list[int]
    ) -> tuple[int, int | None, bool]:
        """Return the arguments of `dataflow._open_data` for a worker."""
        self._broadcast[data.id] = data
        node = self._nodes[worker + 1]
        if data.description is None:
            return self._refer_copy(data, referred), None, False
        shared_id = data.id - ((node + 1) << NODE_SHIFT)
        if node == self._nodes[0]:
            if shared_id not in self._directory:
                self._directory.add_own(shared_id)
        elif shared_id not in self._directory or self._leaders.get(shared_id) == worker:
            self._leaders[shared_id] = worker
            self._directory.add_at(shared_id, worker)
            return self._refer_copy(data, referred), shared_id, True
        referred.append(shared_id)
        return data.id, shared_id, False

    def _refer_copy(self, data: BroadcastData, referred: list[int]) -> int:
        if data.id not in self._directory:
            self._directory.add_own(data.id, is_tree=True)
        referred.append(data.id)
        return data.id

    def drop(self, id: int) -> None:
        """Drop broadcast data, which no job needs any more."""
        data = self._broadcast.pop(id, None)
        if data is not None:
            for node in set(self._nodes):
                self._directory.drop(id - ((node + 1) << NODE_SHIFT))
            data.free()

    def _can_refer(self, job: Job[Any], outcome: Any) -> bool:
        number = job.number
        assert number is not None
        if number in self._directory:
            return True
        if isinstance(outcome, RemoteResult) and not can_rerun(job):
            raise exceptions.DataLostError(self._lost_text(job))
        if isinstance(outcome, RemoteResult):
            self._directory.add_lost(number)
            return True
        if job.data_item < 0 or _size(outcome) < LARGE:
            return False
        self._directory.add_own(number)
        return True

    def _lost_text(self, job: Job[Any]) -> str:
        if job.number in self._directory.lost:
            return lost_text(job.label, self._directory.lost[job.number])
        return (
            f"the result of {job.label} was kept with keep=\"worker\" and dropped when the jobs "
            "that had been queued with it had ended; queue all of them before, or leave keep out"
        )

    def parcel(self, id: int) -> tuple[bytes, Collection[memoryview]] | None:
        """Return data that this rank has; None if it has not."""
        if id < 0:
            data = self._broadcast[-(-id & ((1 << NODE_SHIFT) - 1))]
            if data.id != id:
                return data.description or b"", []
            payload, buffers = data.parcel()
            return bytes(payload), buffers
        outcome = self._jobs[id].stored_outcome
        if not isinstance(outcome, PickledResult):
            return None
        payload, buffers = outcome.load(copy=False)
        return bytes(payload), [memoryview(buffer) for buffer in buffers]


def _size(outcome: Any) -> int:
    """Return the size of a result in memory; 0 for one that is somewhere else."""
    if not isinstance(outcome, PickledResult):
        return 0
    return len(outcome.payload) + sum(map(len, outcome.buffers))
