"""What every listener has in common."""

from __future__ import annotations

import abc
from typing import Any

from bsbpool.progress import PoolProgress


class Listener(abc.ABC):
    """Called with every record of a pool; entered and left with it where it can be."""

    @abc.abstractmethod
    def __call__(self, progress: PoolProgress) -> Any:
        """Take notice of a record; true for a failure means that it was handled."""
