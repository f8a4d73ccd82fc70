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
        Whether the listener needs records of jobs. If no listener of a pool needs them, none are
        made, and jobs cost less. A listener without them gets changes of the status of the pool,
        and its method ``job_failed(job, error)`` is called when a job has failed.
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
