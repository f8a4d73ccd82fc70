"""The journal of a pool on its main rank: what the compiled `JobJournal` leaves to Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from bsbpool._core.journal.job_journal import JobJournal
from bsbpool.journal.options import Journal
from bsbpool.journal.store import ERROR, FAILED, NOT_KEPT, SUCCESS, JournalStore
from bsbpool.journal.writer import MOST_WAITING
from bsbpool.logs import logger
from bsbpool.naming import error_text
from bsbpool.remote_errors import dump_error

_log = logger("journals")


class JournaledPool(Protocol):
    """What a journal uses of the context of a pool."""

    submitter: Any
    engine: Any
    events: Any
    lock: Any
    jobs: Any
    pool: Any
    on_attempt: Any


class PoolJournal(JournalStore):
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

    Attributes
    ----------
    is_shared : bool
        Whether other pools of the program queue other jobs of the journal.
    """

    is_shared = False

    def __init__(self, context: JournaledPool, options: Journal) -> None:
        super().__init__(options)
        self._context = context
        self._jobs = JobJournal(
            context.submitter,
            self.digests.keys,
            self._file.table,
            self._writer.buffer,
            self,
            self.reader,
            MOST_WAITING,
            options.sync == "always",
            options.key_version,
        )
        self._writer.buffer.on_first = self.wake
        self._check()
        self._jobs.connect()
        context.on_attempt = self.attempt_failed

    # ------------------------------------------------------------ life cycle

    @property
    def n_resumed(self) -> int:
        """How many jobs were not run, since the journal has their ends."""
        return self._jobs.n_resumed

    def end_run(self, failed: bool = False) -> None:
        """Write all records at the end of the run, and log what was resumed.

        Parameters
        ----------
        failed : bool
            Whether an error of the run is being raised, which that of the journal must not replace.
        """
        self._writer.write(sync=True)
        _log.info(
            "%s: %d jobs were resumed, %d have ended in this run", self._file.path,
            self._jobs.n_resumed, self._jobs.n_recorded,
        )  # fmt: skip
        if not self.is_shared:
            self.report_unseen()
        if not failed:
            self._check()

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

    def stream_of(self, job: Any) -> int:
        """Return the number of the stream of a job's random numbers, the same in each run."""
        key = self._jobs.keys.key_of(job.number)
        return int(job.random_stream) if key is None else int.from_bytes(key, "little")

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

    def fail(self, job: Any, outcome: Any) -> None:
        """End a job that failed in an earlier run."""
        with self._context.lock:
            self._context.events.job_failed(job, outcome)
            self._context.engine.finish(job.number, FAILED)

    # ------------------------------------------------------------ recording

    def record_result(self, job: Any, outcome: Any) -> None:
        """Record a result that is large, or not a number, text or the like."""
        key = self._jobs.keys.key_of(job.number)
        assert key is not None
        kind, payload, buffers = self.pack(key, outcome)
        self._jobs.add_end(job.number, SUCCESS, kind, payload, buffers)

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

    # ------------------------------------------------------------ writing

    def wake(self) -> None:
        """Let the writer write soon: there is a record, after it took all."""
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
