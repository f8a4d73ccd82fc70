"""What `submit` returns: a future of the standard library that knows its job."""

from __future__ import annotations

import logging
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED, PENDING
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bsbpool.futures.crew import Crew

_log = logging.getLogger("bsbpool")


class PoolFuture(Future[Any]):
    """The future of a call that a crew runs.

    Nobody marks it as running when it starts: the core infers that, so who asks, asks the core.

    Parameters
    ----------
    crew : Crew
        Who runs the call.
    """

    _job: Any = None
    """What stands for the call at the crew while it waits or runs."""
    said: dict[str, Any] | None = None
    """What the submitter said about the call."""

    n_items = 1
    """How many items of a map it stands for."""

    def __init__(self, crew: Crew) -> None:
        super().__init__()
        self._crew = crew

    def cancel(self) -> bool:
        """Cancel the call unless it runs or has ended; return whether it is cancelled."""
        if self.done() or not self._crew.take_back(self):
            return self.cancelled()
        self.be_cancelled()
        return True

    def be_cancelled(self) -> None:
        """Become cancelled, and tell those who wait. From any thread; more than once."""
        if super().cancel():
            with self._condition:
                # `wait` and `as_completed` count only those that were told.
                if self._state == CANCELLED:
                    self.set_running_or_notify_cancel()

    def settle(self, error: BaseException | None, value: Any = None) -> None:
        """End with an error or a value; a callback that raises harms nobody else."""
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except InvalidStateError:
            pass  # cancelled meanwhile
        except BaseException:  # the standard library logs an Exception by itself
            _log.exception("a callback of %r raised", self)

    def running(self) -> bool:
        """Return whether the call is being run."""
        if super().running():
            return True
        return self._state == PENDING and self._crew.is_running(self)
