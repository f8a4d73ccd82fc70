"""A task on the client: where it runs, how it ended, and its result."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bsbpool.exceptions import JobTimeoutError, WorkerLostError
from bsbpool.integrations.ipyparallel import error
from bsbpool.integrations.ipyparallel._engine import OK, Failure, Reply
from bsbpool.integrations.ipyparallel._metadata import Metadata, as_datetime
from bsbpool.integrations.ipyparallel._pickling import unpack

if TYPE_CHECKING:
    from bsbpool.futures.future import PoolFuture
    from bsbpool.integrations.ipyparallel.dependency import Dependency

OnEnd = Callable[["Task"], object]
_end_lock = threading.RLock()
"""Guards the ends of all tasks, each of which happens once."""


class Task:
    """One call on one engine.

    Parameters
    ----------
    msg_id : str
        Its id.
    function : callable
        The function of `_engine` that the engine runs.
    args : tuple
        Its arguments.
    label : str or None
        The label that the user gave.

    Attributes
    ----------
    engine_id : int or None
        The engine that runs it; None while it can be any.
    done : bool
        Whether it has ended.
    value : object
        Its result.
    error : RemoteError or None
        Its error.
    tried : set of int
        The engines on which it failed, or could not run.
    retries : int
        How often it may still run again.
    """

    __slots__ = (
        "__weakref__",
        "abort_requested",
        "aborted",
        "after",
        "allowed",
        "args",
        "completed",
        "done",
        "engine_id",
        "engine_uuid",
        "error",
        "extras",
        "follow",
        "function",
        "future",
        "label",
        "msg_id",
        "on_end",
        "on_failure",
        "output",
        "received",
        "reschedule",
        "retries",
        "size",
        "started",
        "submitted",
        "time_limit",
        "tried",
        "value",
    )  # fmt: skip

    def __init__(
        self, msg_id: str, function: Callable[..., Any], args: tuple[Any, ...], label: str | None
    ) -> None:
        self.msg_id, self.function, self.args, self.label = msg_id, function, args, label
        self.future: PoolFuture[Any] | None = None
        self.engine_id: int | None = None
        self.engine_uuid: str | None = None
        self.submitted = time.time()
        self.started: float | None = None
        self.completed: float | None = None
        self.received: float | None = None
        self.done = self.aborted = self.abort_requested = False
        self.value: Any = None
        self.error: error.RemoteError | None = None
        self.extras: dict[str, Any] | None = None
        self.output: Any = None
        self.after: Dependency | None = None
        self.follow: Dependency | None = None
        self.retries = 0
        self.tried: set[int] = set()
        self.allowed: tuple[int, ...] | None = None
        self.time_limit: float | None = None
        self.on_end: OnEnd | list[OnEnd] | None = None
        self.on_failure: Callable[[BaseException, Task], int | None] | None = None
        self.size = 0  # the bytes of the result
        self.reschedule: Callable[[Task, BaseException], bool] | None = None

    # ------------------------------------------------------------ the end

    def ended(self, raised: BaseException | None, value: Any, output: Any) -> None:
        """Store the outcome of the call, and what it has written."""
        if self.done:
            return
        self.output = output
        if raised is not None:
            if self.reschedule is None or not self.reschedule(self, raised):
                if self.on_failure is not None:
                    self.engine_id = self.on_failure(raised, self)
                self.fail(system_error(raised, self.engine_id))
            return
        reply = Reply(*value)
        self.engine_id, self.extras = reply.engine_id, reply.extras
        self.started, self.completed = reply.started, reply.completed
        self.size = len(reply.payload) + sum(map(len, reply.buffers))
        if reply.status == OK:
            try:
                self.value = unpack(reply.payload, reply.buffers)
            except BaseException as broken:
                self.fail(_unreadable(broken, reply.engine_id))
            else:
                self.finish()
            return
        failed = remote_error(Failure(*pickle.loads(reply.payload)))
        self.tried.add(reply.engine_id)
        if self.reschedule is None or not self.reschedule(self, failed):
            self.fail(failed)

    def was_cancelled(self) -> None:
        """End the task: it was cancelled before it began, or while it ran."""
        self.fail(error.TaskAborted("The task was aborted"))

    def fail(self, raised: error.RemoteError) -> None:
        """End the task with an error, unless it has ended."""
        self._end(raised)

    def finish(self) -> None:
        """End the task with its result, unless it has ended."""
        self._end(None)

    def _end(self, raised: error.RemoteError | None) -> None:
        with _end_lock:
            if self.done:
                return
            self.error = raised
            self.aborted = isinstance(raised, error.TaskAborted)
            self.received = time.time()
            self.done = True
            self.function = self.reschedule = self.on_failure = None  # type: ignore[assignment]
            self.args, self.future = (), None
            on_end, self.on_end = self.on_end, None
        for call in on_end if isinstance(on_end, list) else () if on_end is None else (on_end,):
            call(self)

    def call_at_end(self, call: OnEnd) -> None:
        """Call a function when the task has ended; at once if it has."""
        with _end_lock:
            if not self.done:
                if self.on_end is None:
                    self.on_end = call
                elif isinstance(self.on_end, list):
                    self.on_end.append(call)
                else:
                    self.on_end = [self.on_end, call]
                return
        call(self)

    def forget_call(self, call: OnEnd) -> None:
        """Do not call a function at the end."""
        with _end_lock:
            if self.on_end is call:
                self.on_end = None
            elif isinstance(self.on_end, list) and call in self.on_end:
                self.on_end.remove(call)

    # ------------------------------------------------------------ description

    @property
    def status(self) -> str | None:
        """"ok", "error" or "aborted"; None before the end."""
        if not self.done:
            return None
        if self.error is None:
            return "ok"
        return "aborted" if self.aborted else "error"

    def text(self, stream: str) -> str:
        """Return what was written to a stream so far."""
        output = self.output if self.future is None else self.future.output
        found = "" if output is None else getattr(output, stream)
        texts = (self.extras or {}).get("texts", {})
        return found + "".join(texts.get({"stdout": 1, "stderr": 2}[stream], ()))

    @property
    def data(self) -> dict[str, Any]:
        """The data that the task published last."""
        if self.extras and "data" in self.extras:
            final: dict[str, Any] = self.extras["data"]
            return final
        output = self.output if self.future is None else self.future.output
        if output is None or not output.messages:
            return {}
        found: dict[str, Any] = pickle.loads(output.messages[-1])
        return found

    def metadata(self) -> Metadata:
        """Return what is known of the task."""
        extras = self.extras or {}
        failed = None if self.error is None else self.error
        return Metadata(
            msg_id=self.msg_id,
            submitted=as_datetime(self.submitted),
            started=as_datetime(self.started),
            completed=as_datetime(self.completed),
            received=as_datetime(self.received),
            engine_id=self.engine_id,
            engine_uuid=self.engine_uuid,
            follow=list(self.follow or ()),
            after=list(self.after or ()),
            status=self.status,
            error=failed,
            stdout=self.text("stdout"),
            stderr=self.text("stderr"),
            outputs=extras.get("outputs", []),
            data=self.data,
            execute_input=extras.get("execute_input"),
            execute_result=extras.get("execute_result"),
            label=self.label,
            pyin=extras.get("execute_input"),
            pyout=extras.get("execute_result"),
            pyerr=failed,
        )


def wait_for_tasks(tasks: Iterable[Task], timeout: float | None) -> bool:
    """Wait until tasks have ended; return whether they have."""
    waiting = [task for task in tasks if not task.done]
    if not waiting:
        return True
    ended = threading.Event()
    counter = iter(range(len(waiting) - 1, -1, -1))  # `next` is atomic

    def count(_: Task) -> None:
        if next(counter) == 0:
            ended.set()

    for task in waiting:
        task.call_at_end(count)
    if ended.wait(timeout):
        return True
    for task in waiting:
        task.forget_call(count)
    return False


def remote_error(failure: Failure) -> error.RemoteError:
    """Return the error of a task; its cause is the original exception."""
    kind: Any = getattr(error, failure.ename, None)
    known = isinstance(kind, type) and issubclass(kind, error.UnmetDependency)
    made = kind.__new__(kind) if known else error.RemoteError.__new__(error.RemoteError)
    error.RemoteError.__init__(
        made, failure.ename, failure.evalue, failure.traceback, failure.engine_info
    )
    if failure.original is not None and not known:
        try:
            made.__cause__ = unpack(failure.original, ())
        except Exception:
            made.__cause__ = None  # its class cannot be imported here
    result: error.RemoteError = made
    return result


def system_error(raised: BaseException, engine_id: int | None) -> error.RemoteError:
    """Return the error of a task whose call has failed outside of its function."""
    info = {} if engine_id is None else {"engine_id": engine_id, "method": "apply"}
    made: error.RemoteError
    if isinstance(raised, WorkerLostError):
        named = "An engine" if engine_id is None else f"Engine {engine_id}"
        made = error.EngineError(f"{named} died while it ran the task")
    elif isinstance(raised, JobTimeoutError):
        made = error.TaskTimeout(str(raised))
    else:
        made = error.RemoteError(type(raised).__name__, str(raised))
    made.engine_info = info
    made.__cause__ = raised
    return made


def _unreadable(raised: BaseException, engine_id: int) -> error.RemoteError:
    info = {"engine_id": engine_id, "method": "apply"}
    text = f"The result cannot be unpickled on the client: {type(raised).__name__}: {raised}"
    made = error.RemoteError(type(raised).__name__, text, "", info)
    made.__cause__ = raised
    return made
