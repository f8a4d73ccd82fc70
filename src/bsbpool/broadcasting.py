"""Objects that many jobs have as an argument, and that are sent to each machine once."""

from __future__ import annotations

import itertools
import threading
from typing import Any, Generic, TypeVar

from bsbpool import exceptions, shared_buffers
from bsbpool._core.jobs.handle import DataRef
from bsbpool._core.jobs.inputs import release_item
from bsbpool.dataflow import AS_OBJECT, data_here, opened, reduce_data
from bsbpool.serialization import Parcel, dumps, loads

T = TypeVar("T")

_numbers = itertools.count(1)
_lock = threading.Lock()


class BroadcastData(DataRef):
    """The data of a broadcast object, as an argument of jobs.

    Attributes
    ----------
    nbytes : int
        The size of the pickled object.
    how : int
        How jobs get it, see `dataflow.AS_OBJECT`.
    """

    _shared: shared_buffers.SharedBuffers | None = None
    _parcel: Parcel | None = None
    nbytes = 0

    how = AS_OBJECT

    def fill(self, payload: bytes, buffers: list[memoryview]) -> None:
        """Copy the pickle of the object, and its buffers."""
        self.nbytes = len(payload) + sum(buffer.nbytes for buffer in buffers)
        if shared_buffers.is_available():
            self._shared = shared_buffers.share(payload, buffers)
        else:
            self._parcel = payload, [memoryview(bytes(buffer)) for buffer in buffers]

    @property
    def description(self) -> bytes | None:
        """How other processes of this machine open the data; None if they cannot."""
        return None if self._shared is None else self._shared.description

    def parcel(self) -> tuple[Any, list[memoryview]]:
        """Return the pickle and its buffers, which are read-only."""
        if self._shared is not None:
            return self._shared.parts()
        if self._parcel is None:
            raise exceptions.JobPoolError(
                "an object that was broadcast exists only on rank 0, and until its reference and "
                "the jobs that have it as an argument have ended"
            )
        return self._parcel

    def value(self) -> Any:
        """Return the object; its arrays are read-only and share their memory."""
        if self.how == AS_OBJECT:
            return loads(*self.parcel())
        payload, buffers = self.parcel()
        return opened(lambda: (payload, list(map(bytearray, buffers))), self.how)

    def free(self) -> None:
        """Drop the data."""
        self._shared = self._parcel = None

    def __reduce__(self) -> Any:
        return reduce_data(self)



class Broadcast(DataRef, Generic[T]):
    """A reference to an object that was broadcast; made by `JobPool.broadcast`.

    As an argument of a job it stands for the object, also inside of lists, tuples, dicts and
    dataclasses. The arrays in the object are read-only in jobs.

    Attributes
    ----------
    nbytes : int
        The size of the pickled object.
    value : object
        The object, with read-only arrays, on the main rank.

    Examples
    --------
    >>> from bsbpool import create_job_pool
    >>> with create_job_pool(quiet=True) as pool:
    ...     table = pool.broadcast(list(range(1000)))
    ...     jobs = pool.queue_many(lambda owner, t, i: t[i], [(table, i) for i in range(3)])
    ...     list(pool.execute(return_results=True).values())
    [0, 1, 2]
    """

    target: BroadcastData

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.nbytes:,} bytes>"

    @property
    def nbytes(self) -> int:
        """The size of the pickled object in bytes."""
        return self.target.nbytes

    @property
    def value(self) -> T:
        """The object, with read-only arrays (main rank)."""
        value: T = self.target.value()
        return value

    def __reduce__(self) -> Any:
        return reduce_data(self.target)

    def __del__(self) -> None:
        pool = self.target.counting_pool
        if pool is not None:
            release_item(pool.run_context.engine, self.target.data_item)
            pool.run_context.run.wake()


def make_broadcast(obj: T, is_main: bool) -> Broadcast[T]:
    """Return a reference to a copy of an object; without the copy where `is_main` is False."""
    data = make_data()
    if is_main:
        data.fill(*dumps(obj))
    return Broadcast(data.id, data)


def make_data(how: int = AS_OBJECT) -> BroadcastData:
    """Return broadcast data that are to be filled."""
    with _lock:
        number = -next(_numbers)
    data = BroadcastData(number)
    data.how = how
    data_here[number] = data
    return data
