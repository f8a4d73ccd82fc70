"""The argument `journal` of pools and executors."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Literal

from bsbpool import arguments
from bsbpool.naming import brief
from bsbpool.option_checks import key_version

Sync = Literal["always", "never"] | float


@dataclasses.dataclass(frozen=True)
class Journal:
    """A journal and how it is written: a value of the argument `journal`.

    Parameters
    ----------
    path : str or path-like
        The file. It is made if it does not exist; the folder must exist.
    sync : float, "always" or "never"
        How many seconds records may take to get to the disk, where they survive a crash of the
        machine. Records survive the death of the process about 10 ms after the end of their jobs.
        With "always" the run waits until they are on the disk; with "never" the system decides.
    on_error : {"raise", "continue"}
        Whether the run ends with a JournalError when the file cannot be written, for example
        because the disk is full; or goes on without a journal, with a warning in the log.
    resume_failed : bool
        Whether jobs that failed in an earlier run run again. Otherwise they fail at once with the
        same error. Jobs that were cancelled or aborted always run again.
    side_file_size : int
        Bytes of a result from which it gets a file of its own in the folder ``<path>.d``.
    key_version : int or str, optional
        Part of the keys of all jobs: with another value, no job of an earlier run is found. Change
        it when a change that is not part of keys must take effect, such as that of a library.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    Examples
    --------
    >>> import bsbpool, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "run.journal")
    >>> for run in range(2):
    ...     with bsbpool.create_job_pool(quiet=True, journal=path) as pool:
    ...         job = pool.submit(lambda owner, x: print("running") or x * x, 3)
    ...         pool.execute()
    ...         print(job.result)
    running
    9
    9
    """

    path: str | os.PathLike[str]
    sync: Sync = 1.0
    on_error: Literal["raise", "continue"] = "raise"
    resume_failed: bool = True
    side_file_size: int = 1 << 20
    key_version: int | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, (str, os.PathLike)) or not os.fspath(self.path):
            raise TypeError(f"path must be the path of a file, got {brief(self.path)}")
        object.__setattr__(self, "path", os.path.abspath(os.fspath(self.path)))
        if isinstance(self.sync, str):
            if self.sync not in ("always", "never"):
                raise ValueError(
                    f"sync must be seconds, 'always' or 'never', got {brief(self.sync)}"
                )
        else:
            object.__setattr__(self, "sync", arguments.seconds("sync", self.sync))
        if self.on_error not in ("raise", "continue"):
            raise ValueError(f"on_error must be 'raise' or 'continue', got {brief(self.on_error)}")
        failed = arguments.flag("resume_failed", self.resume_failed)
        object.__setattr__(self, "resume_failed", failed)
        size = self.side_file_size
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"side_file_size must be a number of bytes, got {brief(size)}")
        if not 0 <= size < 2**32 - 2**20:
            raise ValueError(f"side_file_size must be from 0 to almost 4 GiB, got {size}")
        key_version("key_version", self.key_version)


def check_journal(value: Any) -> Journal | None:
    """Return the argument `journal` of a pool or an executor.

    Raises
    ------
    TypeError, ValueError
        If it is not allowed.
    """
    if value is None or isinstance(value, Journal):
        return value
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"journal must be a path or a bsbpool.journal.Journal, got {brief(value)}; use "
            'journal="run.journal"'
        )
    return Journal(value)
