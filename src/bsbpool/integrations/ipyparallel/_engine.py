"""The engine: what a worker keeps between tasks, and the functions that it runs for clients."""

from __future__ import annotations

import os
import pickle
import platform
import time
import traceback
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from bsbpool.integrations.ipyparallel import _output, error
from bsbpool.integrations.ipyparallel._pickling import pack, place, unpack
from bsbpool.process import Terminated

OK, ERROR, UNMET = range(3)
"""How a task ended."""


class Reply(NamedTuple):
    """What an engine returns for a task.

    Attributes
    ----------
    engine_id : int
        The engine.
    started, completed : float
        When the task began and ended, on the clock of the engine.
    status : int
        OK, ERROR or UNMET.
    payload : bytes
        The pickle of the result; or of the `Failure`.
    buffers : tuple
        The buffers of the pickle.
    extras : dict or None
        Output other than text, see `_output`.
    """

    engine_id: int
    started: float
    completed: float
    status: int
    payload: bytes
    buffers: tuple[Any, ...]
    extras: dict[str, Any] | None


class Failure(NamedTuple):
    """An error of a task."""

    ename: str
    evalue: str
    traceback: str
    engine_info: dict[str, Any]
    original: bytes | None


class Engine:
    """The state of a worker.

    Attributes
    ----------
    id : int
        Its number; -1 before a client has set it.
    uuid : str
        Identifies it.
    namespace : dict
        The globals of its functions.
    """

    def __init__(self) -> None:
        self.id = -1
        self.uuid = str(uuid.uuid4())
        self.namespace: dict[str, Any] = {}
        self.clear()

    def clear(self) -> None:
        """Empty the namespace."""
        self.namespace.clear()
        self.namespace.update(__name__="__main__", __builtins__=__builtins__)
        _output.restore_shell()

    def info(self, method: str) -> dict[str, Any]:
        """Return what errors tell of the engine."""
        return {"engine_id": self.id, "engine_uuid": self.uuid, "method": method}


engine = Engine()
"""The engine of this process. A program of one process has it in a thread."""


def identify(id: int) -> tuple[str, int, str]:
    """Set the number of this engine; return its uuid, its process and its host."""
    engine.id = id
    _output.install()
    return engine.uuid, os.getpid(), platform.node()


def _run(method: str, call: Callable[[], Any]) -> tuple[Any, ...]:
    """Run a task; return the fields of its `Reply`."""
    started = time.time()
    place.namespace = engine.namespace
    _output.begin()
    try:
        value = call()
        payload, buffers = pack(value)
        status = OK
    except BaseException as raised:
        if isinstance(raised, Terminated):
            raise
        status = UNMET if isinstance(raised, error.UnmetDependency) else ERROR
        payload, buffers = pickle.dumps(_failure(raised, method)), []
    finally:
        place.namespace = None
        extras = _output.end()
    completed = time.time()
    parts = tuple(map(pickle.PickleBuffer, buffers))
    return engine.id, started, completed, status, payload, parts, extras


def _failure(raised: BaseException, method: str) -> tuple[Any, ...]:
    original: bytes | None
    try:
        original = pack(raised)[0]
    except Exception:
        original = None
    name, text = type(raised).__name__, str(raised)
    if isinstance(raised, error.RemoteError):
        name, text = raised.ename, raised.evalue
    return name, text, _text_of(raised), engine.info(method), original


def _text_of(raised: BaseException) -> str:
    """Return the traceback without the frames of this package, and of IPython's shell."""
    frames = raised.__traceback__
    own = os.path.dirname(__file__), os.path.join("IPython", "core", "interactiveshell.py")
    while frames is not None and _is_in(frames.tb_frame.f_code.co_filename, *own):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(raised), raised, frames)).rstrip()


def _is_in(path: str, folder: str, ending: str) -> bool:
    return path.startswith(folder) or path.endswith(ending)


# ------------------------------------------------------------------ tasks


def run_apply(payload: bytes, *buffers: Any) -> tuple[Any, ...]:
    """Call a function."""

    def call() -> Any:
        f, args, kwargs = unpack(payload, buffers)
        return f(*args, **kwargs)

    return _run("apply", call)


def run_chunk(payload: bytes, *buffers: Any) -> tuple[Any, ...]:
    """Call a function with each of several tuples of arguments; the result is a list."""

    def call() -> Any:
        f, items, return_exceptions = unpack(payload, buffers)
        return [_call_item(f, item, return_exceptions) for item in items]

    return _run("apply", call)


def _call_item(f: Any, item: Any, return_exceptions: bool) -> Any:
    try:
        return f(*item)
    except Exception as raised:
        if not return_exceptions:
            raise
        name, text, tb, info, _ = _failure(raised, "apply")
        return error.RemoteError(name, text, tb, info)


def run_map(payload: bytes, *buffers: Any) -> tuple[Any, ...]:
    """Call a function with the items of sequences; the result is a list."""

    def call() -> Any:
        f, sequences, return_exceptions = unpack(payload, buffers)
        items = zip(*sequences, strict=False)
        return [_call_item(f, item, return_exceptions) for item in items]

    return _run("apply", call)


def run_execute(code: str, silent: bool) -> tuple[Any, ...]:
    """Execute code in the namespace."""
    return _run("execute", lambda: _output.execute(code, silent, engine.namespace))


def run_push(payload: bytes, *buffers: Any) -> tuple[Any, ...]:
    """Set variables."""

    def call() -> None:
        for name, value in unpack(payload, buffers).items():
            _assign(name, value)

    return _run("apply", call)


def _assign(name: str, value: Any) -> None:
    if "." in name or "[" in name:
        engine.namespace["_value"] = value
        try:
            exec(f"{name} = _value", engine.namespace)
        finally:
            del engine.namespace["_value"]
    else:
        engine.namespace[name] = value


def run_pull(names: Any) -> tuple[Any, ...]:
    """Return the values of one expression, or of several."""

    def call() -> Any:
        if isinstance(names, str):
            return eval(names, engine.namespace)
        return [eval(name, engine.namespace) for name in names]

    return _run("apply", call)


def run_clear() -> tuple[Any, ...]:
    """Empty the namespace."""
    return _run("clear", engine.clear)


