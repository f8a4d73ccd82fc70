"""The base class of listeners."""

from __future__ import annotations

import abc
from typing import Any

from bsbpool.progress import PoolProgress


class Listener(abc.ABC):
    """A callable for the progress records of a pool.

    A listener that is a context manager is entered and exited together with the pool.

    Attributes
    ----------
    job_records : bool
        Whether the listener needs the records of jobs. A pool makes none, which saves time, if no
        listener needs them.
    """

    job_records = True

    @abc.abstractmethod
    def __call__(self, progress: PoolProgress) -> Any:
        """Handle a record.

        Parameters
        ----------
        progress : PoolProgress
            The record.

        Returns
        -------
        object
            If true for the failure of a job, the failure counts as handled and is not raised.
        """
