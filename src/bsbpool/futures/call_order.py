"""The order in which a thread runs calls: by priority, and in that of their submission."""

from __future__ import annotations

import heapq
import itertools
import queue

from bsbpool.futures.call_options import Special
from bsbpool.futures.calls import Call

Entry = tuple[int, int, Call]


class CallOrder:
    """Takes the calls out of a queue, highest priority first.

    Parameters
    ----------
    calls : SimpleQueue
        The calls in the order of their submission; None wakes the thread.
    """

    def __init__(self, calls: queue.SimpleQueue[Call | None]) -> None:
        self._calls = calls
        self._has_priorities = False
        self._heap: list[Entry] = []
        self._numbers = itertools.count()

    def prepare(self, special: Special) -> None:
        """Respect priorities from now on if a call has one; called before it is in the queue."""
        if special.options.priority:
            self._has_priorities = True

    def empty(self) -> bool:
        """Whether no call is left."""
        return not self._heap and self._calls.empty()

    def next(self) -> Call | None:
        """Return the next call; wait for it. None when the thread is woken instead."""
        if not self._has_priorities:
            return self._calls.get()
        if not self._heap and self._push(self._calls.get()):
            return None
        while not self._calls.empty():
            self._push(self._calls.get())
        return self._pop()

    def _push(self, call: Call | None) -> bool:
        """Add a call; return whether it is None."""
        if call is None:
            return True
        priority = 0 if call.special is None else call.special.options.priority
        heapq.heappush(self._heap, (-priority, next(self._numbers), call))
        return False

    def _pop(self) -> Call:
        """Return the first call whose dependencies have ended."""
        waiting: list[Entry] = []
        while self._heap:
            entry = heapq.heappop(self._heap)
            if is_ready(entry[2]):
                break
            waiting.append(entry)
        else:  # another thread is cancelling the dependencies
            entry = waiting.pop(0)
        for other in waiting:
            heapq.heappush(self._heap, other)
        return entry[2]


def is_ready(call: Call) -> bool:
    """Return whether the futures that must end before a call have ended."""
    named = () if call.special is None else call.special.futures.items()
    groups = [call.deps, *(group for name, group in named if name != "follow")]
    return all(future.done() for group in groups for future in group)
