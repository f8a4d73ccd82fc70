"""Jobs and futures as arguments of jobs: their results take their place.

A job with such arguments depends on them, so they have succeeded when it begins. In the process
that has the results, `resolved` replaces them. For another process the arguments are pickled inside
of `sending`, where a job or a future is pickled as its result. A large result that a worker keeps
is pickled as a reference, which the worker that runs the job resolves inside of `receiving`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from bsbpool import exceptions
from bsbpool._core.jobs.handle import DataRef, Handle, RemoteResult, StoredResult
from bsbpool._core.jobs.inputs import substitute
from bsbpool.serialization import dumps, loads, out_of_band

if TYPE_CHECKING:
    from bsbpool.shared_buffers import SharedBuffers

Reduced = tuple[Callable[..., Any], tuple[Any, ...]]
Refer = Callable[[Any, Any], int | None]
"""Called with a job and its outcome; returns a key to pickle in place of its result, or None."""
ReferData = Callable[[Any], tuple[int, int | None, bool]]
"""Called with broadcast data; returns the arguments of `_open_data`."""
Rerun = tuple[Any, Any, Any]
"""A class of jobs and the arguments of its `execute`, to make a result that was lost again."""


class DataLoop(Protocol):
    """The methods of a worker's loop that give data to jobs, see `DataReceiver`."""

    def take_data(self, id: int, copy: bool = True) -> tuple[Any, list[Any]]:
        """Return data as a pickle and buffers."""

    def keep_data(self, id: int, payload: bytes, buffers: list[Any]) -> None:
        """Keep data that this rank has made."""


class _Sending(threading.local):
    """The dependencies of the job that this thread pickles; None when it pickles none."""

    dependencies: frozenset[Handle] | None = None
    refer: Refer | None = None
    refer_data: ReferData | None = None


AS_OBJECT, AS_COPY, AS_BUFFERS = range(3)
"""How jobs get broadcast data: an object with read-only arrays, a copy of their own, or a function
that returns copies of the buffers."""

_state = _Sending()


class _Worker(NamedTuple):
    """What references need of the worker that resolves them."""

    loop: DataLoop
    owner: Any
    shared: dict[int, SharedBuffers]


_worker: _Worker | None = None
"""On a worker, during a run."""
data_here: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""The broadcast data that this process has made, by id."""


def resolved(job: Any) -> tuple[Any, Any]:
    """Return the arguments of the job's `execute`, with results in place of jobs."""
    dependencies = frozenset(job.required_jobs or ())

    def result_of(item: Any) -> Any:
        # A list may have got further jobs since the call was queued.
        if isinstance(item, DataRef):
            return (item.target or item).value()  # type: ignore[attr-defined]
        return item.result if item in dependencies else item

    args, kwargs = job.execute_arguments
    if args is job.own_arguments[0]:  # the class of the job has its own `execute`
        return substitute(args, kwargs, result_of)
    f, positional = args
    positional, kwargs = substitute(positional, kwargs, result_of)
    return (f, positional), kwargs


@contextmanager
def sending(
    dependencies: Any = (), refer: Refer | None = None, refer_data: ReferData | None = None
) -> Iterator[None]:
    """Pickle jobs and futures as their results, in this thread.

    Parameters
    ----------
    dependencies : iterable of Handle
        The jobs that may occur.
    refer : callable, optional
        Decides which results are pickled as references.
    refer_data : callable, optional
        Tells how broadcast data are pickled for another process.
    """
    before = _state.dependencies, _state.refer, _state.refer_data
    _state.dependencies = frozenset(dependencies or ())
    _state.refer, _state.refer_data = refer, refer_data
    try:
        yield
    finally:
        _state.dependencies, _state.refer, _state.refer_data = before


@contextmanager
def receiving(loop: DataLoop, owner: Any) -> Iterator[None]:
    """Resolve references in this process; `owner` is the first argument of jobs."""
    global _worker
    before, _worker = _worker, _Worker(loop, owner, {})
    try:
        yield
    finally:
        _worker = before


def reduce_job(job: Any, outcome: Any) -> Reduced:
    """Return the result of a job for `pickle`.

    Raises
    ------
    TypeError
        If the job is not a dependency of a job that is being sent.
    """
    if job not in (_state.dependencies or ()):
        raise TypeError(
            "A job cannot be pickled here. As an argument of another job it stands for its "
            "result, also inside of lists, tuples, dicts and dataclasses; elsewhere wait until it "
            "has ended and pass job.result, or use deps=[job] to run the other job after it."
        )
    if not isinstance(outcome, StoredResult):
        return _same, (outcome,)
    key = None if _state.refer is None else _state.refer(job, outcome)
    if key is not None:
        return _resolve, (key, job.label, _rerun_of(job, outcome))
    payload, buffers = outcome.load(copy=False)
    return _load, (bytes(payload), *out_of_band(buffers))


def reduce_future(future: Any, job: Any) -> Reduced:
    """Return the result of a future for `pickle`; `job` is its job while it is in a pool.

    Raises
    ------
    TypeError
        If no call is being sent, or the future has not ended.
    """
    if _state.dependencies is not None:
        if job in _state.dependencies:
            reduced: Reduced = job.__reduce__()
            return reduced
        if future.done():
            return _same, (future.result(),)
    raise TypeError(
        "A future cannot be pickled here. As an argument of a call of the same executor it stands "
        "for its result, also inside of lists, tuples, dicts and dataclasses; elsewhere wait until "
        "it has ended and pass future.result(), or use deps=[future] to run the call after it."
    )


def _rerun_of(job: Any, outcome: Any) -> Rerun | None:
    """Return how a worker makes a result again that was lost, if the job allows that."""
    if not isinstance(outcome, RemoteResult) or not can_rerun(job):
        return None
    assert _state.dependencies is not None
    _state.dependencies |= frozenset(job.required_jobs or ())  # for its own arguments
    return type(job), *job.execute_arguments


def can_rerun(job: Any) -> bool:
    """Whether a job may run again when its result was lost."""
    return job.options is not None and job.options.retries_if_lost > 0


def _resolve(key: int, label: str, rerun: Rerun | None) -> Any:
    """Return the object of a reference, on the worker that runs a job."""
    assert _worker is not None
    try:
        payload, buffers = _worker.loop.take_data(key)
    except LookupError as error:
        if rerun is None:
            raise exceptions.DataLostError(lost_text(label, error.args[0])) from None
    else:
        return loads(payload, buffers)
    kind, args, kwargs = rerun
    return loads(*dumps(kind.execute(_worker.owner, args, kwargs)))


def lost_text(label: str, rank: int) -> str:
    """Return the message for a result that was lost with a rank."""
    return (
        f"the result of {label}, which this job has as an argument, was only on rank {rank}, which "
        'has died; queue that job without keep="worker", or with retries_if_lost'
    )


def reduce_data(data: Any) -> Reduced:
    """Return broadcast data for `pickle`.

    Raises
    ------
    TypeError
        If no job is being sent.
    """
    if _state.dependencies is None:
        raise TypeError(
            "A broadcast object cannot be pickled here; pass it to jobs as an argument, also "
            "inside of lists, tuples, dicts and dataclasses"
        )
    if _state.refer_data is None:
        return _value_here, (data.id,)
    return _open_data, (*_state.refer_data(data), data.how)


def _value_here(id: int) -> Any:
    return data_here[id].value()


def _open_data(id: int, shared_id: int | None, leads: bool, how: int) -> Any:
    """Return broadcast data, on the worker that runs a job.

    Parameters
    ----------
    id : int
        The data.
    shared_id : int or None
        The data that describe the shared memory of this machine; None: the rank gets its own copy.
    leads : bool
        Whether this rank makes that memory, for all ranks of the machine.
    how : int
        AS_OBJECT, AS_COPY or AS_BUFFERS.
    """
    assert _worker is not None
    if shared_id is None:
        loop = _worker.loop
        if how == AS_OBJECT:
            payload, buffers = loop.take_data(id, False)
            return loads(payload, [memoryview(buffer).toreadonly() for buffer in buffers])
        return opened(lambda: loop.take_data(id), how)
    if shared_id not in _worker.shared:
        _worker.shared[shared_id] = _share(_worker.loop, id, shared_id, leads)
    shared = _worker.shared[shared_id]
    return loads(*shared.parts()) if how == AS_OBJECT else opened(shared.private_parts, how)


def opened(make: Callable[[], tuple[Any, list[Any]]], how: int) -> Any:
    """Return an object that the job may change, or with AS_BUFFERS a maker of such buffers."""
    return loads(*make()) if how == AS_COPY else lambda: make()[1]


def _share(loop: DataLoop, id: int, shared_id: int, leads: bool) -> SharedBuffers:
    from bsbpool import shared_buffers

    if not leads:
        return shared_buffers.open_shared(loop.take_data(shared_id)[0])
    made = shared_buffers.share(*loop.take_data(id, False))
    payload, buffers = made.parts()
    # In place of the memory that the data were received in.
    loop.keep_data(id, bytes(payload), list(buffers))
    loop.keep_data(shared_id, made.description, [])
    return made


def drop_data(id: int) -> None:
    """Drop shared memory, on a worker."""
    if _worker is not None:
        _worker.shared.pop(id, None)


def _same(value: Any) -> Any:
    return value


def _load(payload: bytes, *buffers: Any) -> Any:
    return loads(payload, buffers)
