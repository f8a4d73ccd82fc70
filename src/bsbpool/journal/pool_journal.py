"""The journal of a pool on its main rank: what the compiled `JobJournal` leaves to Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from bsbpool import exceptions
from bsbpool._core.jobs.handle import RemoteResult, StoredResult
from bsbpool._core.journal.job_journal import JobJournal
from bsbpool._core.journal.records import PayloadKind, RecordKind
from bsbpool.journal import header, side_files
from bsbpool.journal.digests import Digests
from bsbpool.journal.file import JournalFile
from bsbpool.journal.options import Journal
from bsbpool.journal.writer import MOST_WAITING, JournalWriter
from bsbpool.logs import logger
from bsbpool.naming import error_text, name_of
from bsbpool.process import is_from_signal
from bsbpool.remote_errors import dump_error, load_error
from bsbpool.serialization import copies_of, dumps
from bsbpool.status import JOB_STATUSES, JobStatus

_log = logger("journals")

SUCCESS, FAILED = JOB_STATUSES.index(JobStatus.SUCCESS), JOB_STATUSES.index(JobStatus.FAILED)
NO_KEY = bytes(16)
RUN, NAME = int(RecordKind.RUN), int(RecordKind.NAME)
NOTHING, PICKLE, SIDE_FILE, NOT_KEPT, ERROR = map(int, PayloadKind)


class JournaledPool(Protocol):
    """What a journal uses of the context of a pool."""

    submitter: Any
    engine: Any
    events: Any
    lock: Any
    jobs: Any
    pool: Any


class JournaledResult(StoredResult):
    """A result that is in the journal. It is read anew for each reader.

    Parameters
    ----------
    journal : PoolJournal
        The journal.
    offset : int
        The offset of the record.
    """

    __slots__ = ("_journal", "_offset")

    def __init__(self, journal: PoolJournal, offset: int) -> None:
        self._journal = journal
        self._offset = offset

    def load(self, copy: bool) -> tuple[Any, list[Any]]:
        """Return the pickle of the result and its buffers."""
        return self._journal.read_result(self._offset)


class PoolJournal:
    """Records the jobs of a pool, and resumes those that ended in earlier runs.

    Implements `JournalCallbacks`.

    Parameters
    ----------
    context : JournaledPool
        The context of the pool.
    options : Journal
        The journal.

    Raises
    ------
    JournalError
        If the journal cannot be used.
    """

    def __init__(self, context: JournaledPool, options: Journal) -> None:
        self._context = context
        self._options = options
        self._file = JournalFile(str(options.path))
        try:
            self._writer = JournalWriter(self._file, options)
            self._report_opening()
            self._names = {name: number for number, name in self._file.names.items()}
            self._warned: set[str] = set()
            self._jobs = JobJournal(
                context.submitter,
                Digests().keys,
                self._file.table,
                self._writer.buffer,
                self,
                MOST_WAITING,
                options.sync == "always",
                options.key_version,
            )
            run = json.dumps(header.of_this_run()).encode()
            self._writer.buffer.add(RUN, 0, NOTHING, NO_KEY, run)
            self._writer.write(sync=True)
            self._check()
            self._jobs.connect()
        except BaseException:
            self._file.close()
            raise

    def _report_opening(self) -> None:
        file = self._file
        for begin, end in file.damaged:
            _log.warning(
                "%s is damaged from byte %d to %d; the jobs that were recorded there run again",
                file.path, begin, end,
            )  # fmt: skip
        if file.torn:
            _log.info("%s ended in a part of a record, %d bytes, which were cut off", file.path,
                      file.torn)  # fmt: skip
        written_by = str(file.contents.get("python", ""))
        if file.runs and written_by.split(".")[:2] != [str(n) for n in sys.version_info[:2]]:
            _log.warning(
                "%s was begun with Python %s. Functions have another code in this Python, so only "
                "jobs with a `key` are found in it",
                file.path, written_by,
            )  # fmt: skip

    # ------------------------------------------------------------ life cycle

    @property
    def n_resumed(self) -> int:
        """How many jobs were not run, since the journal has their ends."""
        return self._jobs.n_resumed

    def end_run(self) -> None:
        """Write all records at the end of the run, and log what was resumed."""
        self._writer.write(sync=True)
        left = self._file.table.unseen(SUCCESS)
        _log.info(
            "%s: %d jobs were resumed, %d have ended in this run", self._file.path,
            self._jobs.n_resumed, self._jobs.n_recorded,
        )  # fmt: skip
        if left:
            _log.warning(
                "%s has the results of %d jobs that the program did not queue in this run; "
                "`bsbpool journal show --unused` lists them",
                self._file.path, len(left),
            )  # fmt: skip
        if sys.exc_info()[1] is None:
            self._check()
        elif self._writer.error is not None:
            _log.error("%s", self._writer.error)

    def close(self) -> None:
        """Write all records, and close the file."""
        self._jobs.active = False
        self._writer.close()
        self._file.close()

    def _check(self) -> None:
        """Raise the error of the writer, unless the run goes on without a journal."""
        error = self._writer.error
        if error is None:
            return
        self._jobs.active = self._jobs.every_group = False
        if self._options.on_error == "raise":
            raise error

    # ------------------------------------------------------------ queueing

    def key_options(self, job: Any) -> tuple[str | None, Any, Sequence[Any], bool]:
        """Return the key of a job with options, further data for keys, jobs in options.

        The last item is whether the job is recorded.
        """
        options = job.options
        recorded = options.journaled and options.keep != "worker"
        version = (options.key_version, options.seed, options.ranks, options.gather)
        others = (*options.after_any, *options.on_failure, *options.on_end)
        plain = version == (None, None, 1, False)
        return options.key, None if plain else version, others, recorded

    def with_attempts(self, job: Any, special: Any, attempts: int) -> Any:
        """Return the options of a job that has run before, with so many fewer attempts."""
        if not job.options.retries:
            return special
        job.options = job.options.updated({"retries": max(0, job.options.retries - attempts)})
        return self._context.pool.placement.spec_of(job.options)

    def refuse_key(self, job: Any, error: TypeError) -> None:
        """Raise an error for a job that has no key.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            f"{job.label} has no key for the journal: {self._culprit(job)}{error}. Give the job a "
            "key, as in pool.options(key='...').queue(...) or pool.submit(..., key='...'); or give "
            "the class a method __bsbpool_key__(self), or call bsbpool.journal.register_key"
        ) from error

    def _culprit(self, job: Any) -> str:
        """Return which argument has no digest."""
        args, kwargs = job.own_arguments
        if not isinstance(args, tuple):
            return ""
        for name, value in [*enumerate(args, 1), *kwargs.items()]:
            try:
                self._jobs.keys.digest(value)
            except TypeError:
                return f"argument {name}: "
        return "its function, or a value bound to it: "

    def load(self, status: int, payload_kind: int, offset: int) -> tuple[bool, Any]:
        """Return whether a recorded end counts, and the outcome that the job keeps."""
        if status == SUCCESS:
            if payload_kind == PICKLE:
                return True, JournaledResult(self, offset)
            return payload_kind == SIDE_FILE and self._has_file(offset), JournaledResult(
                self, offset
            )
        if status != FAILED or self._options.resume_failed:
            return False, None
        return True, self._error_at(offset)

    def _has_file(self, offset: int) -> bool:
        reference = side_files.unpack(self._file.record(offset)[4])
        if self._writer.side_files.has(reference):
            return True
        self._warn(f"{self._writer.side_files.path_of(reference)} is missing; its job runs again")
        return False

    def read_result(self, offset: int) -> tuple[Any, list[Any]]:
        """Return the pickle and the buffers of a result."""
        _, _, kind, _, payload, buffers, _ = self._file.record(offset)
        if kind == SIDE_FILE:
            return self._writer.side_files.read(side_files.unpack(payload))
        return payload, buffers

    def _error_at(self, offset: int) -> BaseException:
        _, _, kind, _, payload, buffers, more = self._file.record(offset)
        try:
            if kind == ERROR:
                return load_error(payload, buffers)
        except Exception as error:
            self._warn(f"an error cannot be unpickled: {error_text(error)}")
        return exceptions.RemoteError(more["text"].decode(errors="replace"))

    def fail(self, job: Any, outcome: Any) -> None:
        """End a job that failed in an earlier run."""
        with self._context.lock:
            self._context.events.job_failed(job, outcome)
            self._context.engine.finish(job.number, FAILED)

    # ------------------------------------------------------------ recording

    def record_result(self, job: Any, outcome: Any) -> None:
        """Record a result that is large, or not a number, text or the like."""
        try:
            payload, buffers = self._parcel(outcome)
        except BaseException as error:
            if is_from_signal(error):
                raise
            text = error_text(error)
            self._warn(f"the result of {job.label} is not kept, so it runs again: {text}")
            self._jobs.add_end(job.number, SUCCESS, NOT_KEPT, text.encode(errors="replace"))
            return
        size = len(payload) + sum(memoryview(buffer).nbytes for buffer in buffers)
        if size < self._options.side_file_size:
            self._jobs.add_end(job.number, SUCCESS, PICKLE, payload, buffers)
            return
        if not isinstance(outcome, StoredResult):
            buffers = copies_of(buffers)  # other code may change the arrays
        key = self._jobs.keys.key_of(job.number)
        assert key is not None
        parts = (payload, *buffers)
        reference = side_files.reference_to(f"{key.hex()}.pickle", parts)
        self._writer.add_side_file(reference, parts)
        self._jobs.add_end(job.number, SUCCESS, SIDE_FILE, side_files.pack(reference))

    def _parcel(self, outcome: Any) -> tuple[Any, list[Any]]:
        if isinstance(outcome, RemoteResult):
            raise LookupError("it stayed on the worker")
        if isinstance(outcome, StoredResult):
            return outcome.load(copy=False)
        payload, buffers = dumps(outcome)
        return payload, list(buffers)

    def record_failure(self, job: Any) -> None:
        """Record the error of a job."""
        error = job.error
        text = "" if error is None else error_text(error)
        payload, buffers = dump_error(error, 0, job.label) if error is not None else (b"", [])
        self._jobs.add_end(
            job.number, FAILED, ERROR, payload, buffers, text.encode(errors="replace")
        )

    def attempt_failed(self, job: Any, error: BaseException) -> None:
        """Record an attempt that failed, and after which the job runs again."""
        text = error_text(error).encode(errors="replace")
        self._jobs.add_attempt(job.number, FAILED, text)

    def result_unreadable(self, job: Any, error: BaseException) -> None:
        """Record that a result cannot be read, so that the next run does not resume it."""
        if self._jobs.active and self._jobs.keys.key_of(job.number) is not None:
            self._jobs.add_end(
                job.number, FAILED, NOT_KEPT, b"", text=error_text(error).encode(errors="replace")
            )

    def number_of_name(self, f: Any) -> int:
        """Return the number of the name of a function."""
        name = name_of(f)
        if name not in self._names:
            self._names[name] = len(self._names) + 1
            self._writer.buffer.add(
                NAME, 0, NOTHING, NO_KEY, name.encode(errors="replace"), name=self._names[name]
            )
        return self._names[name]

    # ------------------------------------------------------------ writing

    def wake(self) -> None:
        """Let the writer write soon."""
        if self._writer.error is not None:
            self._jobs.every_group = True  # `group_ended` raises
        self._writer.wake()

    def wait_for_writer(self) -> None:
        """Write the records in this thread: the other one is too slow."""
        self._writer.write()

    def group_ended(self) -> None:
        """Write all records before the run goes on, or raise the error of the writer."""
        if self._writer.error is None:
            self._writer.write(sync=True)
        self._check()

    def _warn(self, text: str) -> None:
        """Log a warning; only the first ten of a run."""
        if len(self._warned) < 10 and text not in self._warned:
            self._warned.add(text)
            _log.warning("%s: %s", self._file.path, text)
