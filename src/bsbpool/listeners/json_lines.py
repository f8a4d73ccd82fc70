"""A listener that writes records as lines of JSON, for other programs."""

from __future__ import annotations

import json
import os
import time
import warnings
from typing import Any, Literal, TextIO

from bsbpool.exceptions import WorkerTraceback
from bsbpool.listeners.base import Listener
from bsbpool.listeners.kinds import KindCache
from bsbpool.naming import error_text, kind_key
from bsbpool.progress import PoolProgress, PoolProgressReason
from bsbpool.status import ERRONEOUS, PoolStatus

SECONDS_PER_FLUSH = 1.0


class JsonLinesListener(Listener):
    """Writes a line of JSON for each record, and nothing on ranks that schedule no jobs.

    Each line is an object with `time` (seconds since 1970), `event` and further items:

    - ``"job"``: `job` (the number), `name`, `status` and `old`; the first one of a job has the
      status ``"pending"`` and no `old`. Jobs that have failed have `error`, and `rank` if the error
      came from a worker.
    - ``"pool"``: `status`, `counts` (the number of jobs by status), and `phase` in a workflow.
    - ``"output"``: `job`, `stream` (1 or 2) and `text`, of jobs with the option `capture_output`.

    Parameters
    ----------
    file : path or file
        Where to write. A path is opened when the first job is added, and appended to if a pool has
        used the listener before.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> from bsbpool import create_job_pool
    >>> from bsbpool.listeners import JsonLinesListener
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "jobs.jsonl"
    >>> pool = create_job_pool(quiet=True)
    >>> pool.add_listener(JsonLinesListener(path))
    >>> with pool:
    ...     job = pool.submit(lambda owner: 1)
    ...     pool.execute()
    >>> events = [json.loads(line) for line in path.read_text().splitlines()]
    >>> [event["status"] for event in events if event["event"] == "job"]
    ['pending', 'queued', 'running', 'success']
    """

    def __init__(self, file: str | os.PathLike[str] | TextIO) -> None:
        self._target = file
        self._file: TextIO | None = None
        self._mode: Literal["w", "a"] = "w"
        self._names: KindCache[str] = KindCache(json.dumps)
        self._flushed = 0.0
        self._failed = False

    def __enter__(self) -> JsonLinesListener:
        return self

    def __exit__(self, *error: Any) -> None:
        self._close()

    def __call__(self, progress: PoolProgress) -> None:
        """Write a record."""
        reason = progress.reason
        if reason is PoolProgressReason.JOB_STATUS_CHANGE or reason is PoolProgressReason.JOB_ADDED:
            self._write(self._job_items(progress))
        elif reason is PoolProgressReason.JOB_OUTPUT:
            self._write(_output_items(progress))
        elif reason is PoolProgressReason.POOL_STATUS_CHANGE and self._file is not None:
            self._write(_pool_items(progress))
            if progress.status is PoolStatus.CLOSING:
                self._close()

    def _job_items(self, progress: Any) -> str:
        job = progress.job
        items = f'"event": "job", "job": {job.number}, "name": {self._names.get(kind_key(job))}'
        if progress.reason is PoolProgressReason.JOB_ADDED:
            return f'{items}, "status": "pending"'
        status = progress.status
        # Not made by `json`, since there are several of them for each job.
        items += f', "status": "{status.value}", "old": "{progress.old_status.value}"'
        if status in ERRONEOUS and (error := job.error) is not None:
            items += f', "error": {json.dumps(error_text(error))}'
            if isinstance(error.__cause__, WorkerTraceback):
                items += f', "rank": {error.__cause__.rank}'
        return items

    def _write(self, items: str) -> None:
        if self._failed:
            return
        if self._file is None:
            self._file = self._open()
        now = time.time()
        try:
            self._file.write(f'{{"time": {now:.6f}, {items}}}\n')
            if now - self._flushed >= SECONDS_PER_FLUSH:
                self._flushed = now
                self._file.flush()
        except OSError as error:
            self._fail(error)

    def _open(self) -> TextIO:
        if not isinstance(self._target, (str, os.PathLike)):
            return self._target
        mode, self._mode = self._mode, "a"
        file: TextIO = open(self._target, mode, encoding="utf-8")  # noqa: SIM115
        return file

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.flush()
            if file is not self._target:
                file.close()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Write nothing more: a full disk must not end a run."""
        if not self._failed:
            self._failed = True
            warnings.warn(
                f"No more records are written to {self._target}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )


def _output_items(progress: Any) -> str:
    items = {"job": progress.job.number, "stream": progress.stream, "text": progress.text}
    return f'"event": "output", {json.dumps(items)[1:-1]}'


def _pool_items(progress: PoolProgress) -> str:
    counts = {status.value: n for status, n in progress.counts.items() if n}
    items = f'"event": "pool", "status": "{progress.status.value}", "counts": {json.dumps(counts)}'
    if progress.workflow is not None:
        items += f', "phase": {json.dumps(progress.workflow.phase)}'
    return items
