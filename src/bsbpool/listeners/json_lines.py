"""A listener that writes records as lines of JSON, for other programs."""

from __future__ import annotations

import json
import os
import time
from typing import Any, TextIO

from bsbpool.exceptions import WorkerTraceback
from bsbpool.listeners.base import Listener
from bsbpool.listeners.kinds import Kinds
from bsbpool.naming import error_text
from bsbpool.progress import PoolJobOutputProgress, PoolProgress, PoolProgressReason
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
        self._mode = "w"
        self._kinds = Kinds()
        self._flushed = 0.0

    def __enter__(self) -> JsonLinesListener:
        return self

    def __exit__(self, *error: Any) -> None:
        self._close()

    def __call__(self, progress: PoolProgress) -> None:
        """Write a record."""
        event = _event_of(progress, self._kinds)
        if event is None or (self._file is None and event["event"] == "pool"):
            return
        self._write(event)
        if progress.status is PoolStatus.CLOSING:
            self._close()

    def _write(self, event: dict[str, Any]) -> None:
        if self._file is None:
            self._file = self._open()
        now = time.time()
        self._file.write(f"{json.dumps({'time': round(now, 6)} | event)}\n")
        if now - self._flushed >= SECONDS_PER_FLUSH:
            self._flushed = now
            self._file.flush()

    def _open(self) -> TextIO:
        if not isinstance(self._target, (str, os.PathLike)):
            return self._target
        mode, self._mode = self._mode, "a"
        return open(self._target, mode, encoding="utf-8")

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.flush()
            if file is not self._target:
                file.close()


def _event_of(progress: PoolProgress, kinds: Kinds) -> dict[str, Any] | None:
    """Return the items of a record; None if it is not written."""
    reason = progress.reason
    if reason is PoolProgressReason.JOB_STATUS_CHANGE:
        return _job_event(progress, kinds)
    if reason is PoolProgressReason.JOB_ADDED:
        job = progress.job  # type: ignore[attr-defined]
        return {"event": "job", "job": job.number, "name": kinds.of_job(job).name, "status": "pending"}
    if reason is PoolProgressReason.POOL_STATUS_CHANGE:
        return _pool_event(progress)
    if isinstance(progress, PoolJobOutputProgress):
        job = progress.job
        return {
            "event": "output",
            "job": job.number,
            "stream": progress.stream,
            "text": progress.text,
        }
    return None


def _job_event(progress: Any, kinds: Kinds) -> dict[str, Any]:
    job, status = progress.job, progress.status
    event = {
        "event": "job",
        "job": job.number,
        "name": kinds.of_job(job).name,
        "status": status.value,
        "old": progress.old_status.value,
    }
    if status in ERRONEOUS and (error := job.error) is not None:
        event["error"] = error_text(error)
        if isinstance(error.__cause__, WorkerTraceback):
            event["rank"] = error.__cause__.rank
    return event


def _pool_event(progress: PoolProgress) -> dict[str, Any]:
    counts = {status.value: n for status, n in progress.counts.items() if n}
    event: dict[str, Any] = {"event": "pool", "status": progress.status.value, "counts": counts}
    if progress.workflow is not None:
        event["phase"] = progress.workflow.phase
    return event
