"""What tasks write and display, on the engine.

Text is sent to the client while the task runs. Objects that are displayed, and the last published
data, are returned with the result. Code is executed by IPython if it is installed, except for an
engine that is a thread of the client's process.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import linecache
import pickle
import sys
import threading
import time
from typing import Any

from bsbpool.current import current_job
from bsbpool.integrations.ipyparallel._metadata import ExecutionCount
from bsbpool.job_output import MESSAGE, STDERR, STDOUT
from bsbpool.timers import timers

PIECE = 3_000
"""Bytes that are sent at a time."""
SECONDS_BETWEEN_PIECES = 0.05


class TaskOutput:
    """The output of one task.

    Attributes
    ----------
    outputs : list of dict
        The objects that were displayed, as MIME bundles.
    data : dict or None
        The data that `publish_data` was given last.
    execute_result : dict or None
        The value of the last expression of code.
    execute_input : str or None
        The code.
    texts : dict of int to list of str
        Text that could not be sent, as this process is that of the client.
    """

    def __init__(self) -> None:
        job = current_job()
        self._send = None if job is None else job.send_output
        self._number = -1 if job is None else job.number
        self._pending: dict[int, bytearray] = {}
        self._sent_at = 0.0
        # Reentrant, since a finalizer may print while text is added.
        self._lock = threading.RLock()
        self._timer = False
        self.outputs: list[dict[str, Any]] = []
        self.data: dict[str, Any] | None = None
        self.execute_result: dict[str, Any] | None = None
        self.execute_input: str | None = None
        self.texts: dict[int, list[str]] = {}

    def write(self, stream: int, text: str) -> None:
        """Add text."""
        if self._send is None:
            self.texts.setdefault(stream, []).append(text)
            return
        with self._lock:
            pending = self._pending.setdefault(stream, bytearray())
            pending += text.encode(errors="replace")
            now = time.monotonic()
            due = now - self._sent_at > SECONDS_BETWEEN_PIECES and text.endswith("\n")
            if due or len(pending) > PIECE:
                self._flush(now)
            elif not self._timer:
                self._timer = True
                timers.call_at(now + SECONDS_BETWEEN_PIECES, self.flush)

    def flush(self) -> None:
        """Send what was written so far."""
        with self._lock:
            self._timer = False
            self._flush(time.monotonic())

    def _flush(self, now: float) -> None:
        pending, self._pending = self._pending, {}
        self._sent_at = now
        if self._send is None:
            return
        for stream, data in pending.items():
            for start in range(0, len(data), PIECE):
                self._send(self._number, stream, bytes(data[start : start + PIECE]))

    def publish(self, data: dict[str, Any]) -> None:
        """Set the published data; send them if they are small."""
        self.data = data
        payload = pickle.dumps(data)
        if self._send is not None and len(payload) <= PIECE:
            self._send(self._number, MESSAGE, payload)

    def close(self) -> dict[str, Any] | None:
        """Send the rest of the text; return everything else, None if there is nothing."""
        with self._lock:
            self._flush(time.monotonic())
            self._send = None
        found = {
            name: value
            for name in ("outputs", "data", "execute_result", "execute_input", "texts")
            if (value := getattr(self, name))
        }
        return found or None


class _Current(threading.local):
    """Whether this thread runs a task, and the output of it; most tasks have none."""

    runs_task = False
    output: TaskOutput | None = None


_current = _Current()


def begin() -> None:
    """Begin to collect the output of a task of this thread."""
    _current.runs_task = True


def end() -> dict[str, Any] | None:
    """End the collection; return what was not sent."""
    _current.runs_task = False
    output, _current.output = _current.output, None
    return None if output is None else output.close()


def current_output() -> TaskOutput | None:
    """Return the output of the task that this thread runs; None outside of tasks."""
    if _current.output is None and _current.runs_task:
        _current.output = TaskOutput()
    return _current.output


class TaskStream(io.TextIOBase):
    """Passes what a task writes to its output, and everything else to the stream of the process.

    Parameters
    ----------
    stream : int
        STDOUT or STDERR.
    original : file
        The stream of the process.
    """

    def __init__(self, stream: int, original: Any) -> None:
        super().__init__()
        self._stream, self._original = stream, original

    def __getattr__(self, name: str) -> Any:
        # For example `set_parent` of the streams of Jupyter's kernels.
        if name == "_original":
            raise AttributeError(name)
        return getattr(self._original, name)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the text."""
        return "utf-8"

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Write text."""
        output = current_output()
        if output is None:
            written: int = self._original.write(text)
            return written
        output.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream of the process; the output of tasks is sent soon."""
        if not _current.runs_task:
            self._original.flush()

    def fileno(self) -> int:
        """Return the file descriptor of the process's stream."""
        number: int = self._original.fileno()
        return number

    def isatty(self) -> bool:
        """Return False."""
        return False


def install() -> None:
    """Replace `sys.stdout` and `sys.stderr`."""
    if not isinstance(sys.stdout, TaskStream):
        sys.stdout = TaskStream(STDOUT, sys.stdout)
    if not isinstance(sys.stderr, TaskStream):
        sys.stderr = TaskStream(STDERR, sys.stderr)


def publish_data(data: dict[str, Any]) -> None:
    """Make data available as the attribute `data` of the result while the task runs.

    Parameters
    ----------
    data : dict
        The data. It replaces what was published before.
    """
    output = current_output()
    if output is None:
        raise RuntimeError("publish_data() can only be called by a task")
    output.publish(data)


# ------------------------------------------------------------------ code

_shell: Any = None
_n_executed = 0


def execute(code: str, silent: bool, namespace: dict[str, Any]) -> Any:
    """Execute code; return the number of the execution."""
    global _n_executed
    output = current_output()
    assert output is not None
    output.execute_input = code
    _n_executed += 1
    if not _is_thread_of_client() and importlib.util.find_spec("IPython") is not None:
        value = _execute_in_shell(code, namespace)
    else:
        value = _execute_plain(code, namespace)
    if value is not None and not silent:
        data, metadata = value
        output.execute_result = {
            "data": data, "metadata": metadata, "execution_count": _n_executed,
        }  # fmt: skip
    return ExecutionCount(_n_executed)


def _is_thread_of_client() -> bool:
    """Return whether this engine is a thread; the process may have an IPython shell already."""
    return threading.current_thread() is not threading.main_thread()


Bundle = tuple[dict[str, Any], dict[str, Any]]


def _execute_plain(code: str, namespace: dict[str, Any]) -> Bundle | None:
    name = f"<execute {_n_executed}>"
    linecache.cache[name] = len(code), None, code.splitlines(keepends=True), name
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), namespace)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
    return None if value is None else ({"text/plain": repr(value)}, {})


def _execute_in_shell(code: str, namespace: dict[str, Any]) -> Bundle | None:
    shell = _make_shell(namespace)
    done = shell.run_cell(code, store_history=False, silent=False)
    raised = done.error_before_exec or done.error_in_exec
    if raised is not None:
        raise raised
    if done.result is None:
        return None
    data, metadata = shell.display_formatter.format(done.result)
    return data, metadata


def _make_shell(namespace: dict[str, Any]) -> Any:
    """Return the IPython shell of this engine, which shares its namespace."""
    global _shell
    if _shell is None:
        from bsbpool.integrations.ipyparallel._shell import make_shell

        _shell = make_shell(namespace, displayed)
    return _shell


def displayed(data: dict[str, Any], metadata: dict[str, Any] | None) -> None:
    """Keep an object that was displayed."""
    output = current_output()
    if output is not None:
        output.outputs.append(
            {"output_type": "display_data", "data": data, "metadata": metadata or {}}
        )


def restore_shell() -> None:
    """Put the names of IPython back into an emptied namespace."""
    if _shell is not None:
        _shell.init_user_ns()
