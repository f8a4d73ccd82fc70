"""The executor that other people's code borrows when it was given none of its own.

Inside the ``with`` block of an executor it is that one. Elsewhere one is opened for the first who
borrows, and closed when the last has given it back: a program under ``python -m bsbpool.run`` has
its workers to itself in between. While a call goes on for which nobody waits any more, it stays
open for who borrows next, who would otherwise wait for that call; an executor of the program's
own closes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from bsbpool.futures import PoolExecutor
from bsbpool.futures.backend import is_of_a_backend
from bsbpool.futures.executor import entered


class SharedExecutor:
    """Lends one executor to all who ask.

    Parameters
    ----------
    make : callable
        Makes an executor.
    """

    def __init__(self, make: Callable[[], PoolExecutor] = PoolExecutor) -> None:
        self._make = make
        # The garbage collector may give a lease back, from wherever a thread is.
        self._lock = threading.RLock()
        self._executor: PoolExecutor | None = None
        self._leases = 0

    def lease(self) -> Lease:
        """Return a lease of an executor that takes calls."""
        if (found := entered()) is not None:
            return Lease(found, None)
        if is_of_a_backend():  # that of the others may be waiting for this thread
            return SharedExecutor(self._make).lend()
        return self.lend()

    def lend(self) -> Lease:
        """Return a lease of the executor that is not anybody's."""
        with self._lock:
            self._leases += 1  # first, so that it is not closed meanwhile
            try:
                return Lease(self._open(), self)
            except BaseException:
                self._leases -= 1
                raise

    def _open(self) -> PoolExecutor:
        if self._executor is None or self._executor._get_backend().closed:
            self._executor = self._make().bootup()
        self._executor._get_backend().spare = False
        return self._executor

    def _take_back(self) -> None:
        with self._lock:  # until it is shut down, so that nobody opens another before
            self._leases -= 1
            if self._leases or self._executor is None:
                return
            backend = self._executor._get_backend()
            backend.spare = backend.is_lingering()
            if not backend.spare:
                self._executor.shutdown(wait=False)
                self._executor = None


class Lease:
    """An executor, until it is given back.

    Parameters
    ----------
    executor : PoolExecutor
        The executor.
    shared executor : SharedExecutor, optional
        Whose it is; nobody's when its owner sees to its end.
    """

    def __init__(self, executor: PoolExecutor, shared_executor: SharedExecutor | None) -> None:
        self.executor = executor
        self._shared_executor = shared_executor

    def give_back(self) -> None:
        """Need the executor no more; calling it again does nothing."""
        shared_executor, self._shared_executor = self._shared_executor, None
        if shared_executor is not None:
            shared_executor._take_back()

    def __enter__(self) -> PoolExecutor:
        return self.executor

    def __exit__(self, *ignored: object) -> None:
        self.give_back()


shared_executor = SharedExecutor()
"""Of this process."""
