"""The executor that adapters use when the program gave them none.

Inside the ``with`` block of an executor it is that executor. Elsewhere the first lease opens one,
and the end of the last lease shuts it down, so that a program under ``python -m bsbpool.run`` can
use the workers for its own executors in between. If an abandoned call still runs at that moment,
the executor stays open for the next lease, which would otherwise have to wait for that call; an
executor of the program itself may close it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from bsbpool.futures import PoolExecutor
from bsbpool.futures.backend import in_backend_thread
from bsbpool.futures.executor import backend_of, entered_executor


class Lease:
    """The right to use an executor; also a context manager that gives the executor.

    Parameters
    ----------
    executor : PoolExecutor
        The executor.
    on_end : callable, optional
        Called once when the lease ends.
    """

    def __init__(self, executor: PoolExecutor, on_end: Callable[[], object] | None = None) -> None:
        self.executor = executor
        self._on_end = on_end

    def end(self) -> None:
        """End the lease; further calls do nothing."""
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end()

    def __enter__(self) -> PoolExecutor:
        return self.executor

    def __exit__(self, *ignored: object) -> None:
        self.end()


class SharedExecutor:
    """Leases one executor to all users.

    Parameters
    ----------
    make : callable
        Makes the executor.
    """

    def __init__(self, make: Callable[[], PoolExecutor] = PoolExecutor) -> None:
        self._make = make
        # Reentrant: the garbage collector may end a lease in a thread that holds the lock.
        self._lock = threading.RLock()
        self._executor: PoolExecutor | None = None
        self._n_leases = 0

    def lease(self) -> Lease:
        """Return a lease of the entered executor, or of the shared one."""
        if (executor := entered_executor()) is not None:
            return Lease(executor)
        if in_backend_thread():  # the shared executor may be waiting for this thread
            return SharedExecutor(self._make).lease_shared()
        return self.lease_shared()

    def lease_shared(self) -> Lease:
        """Return a lease of the shared executor; open it first if needed."""
        with self._lock:
            self._n_leases += 1  # first, so that another lease's end does not shut it down
            try:
                return Lease(self._open(), self._lease_ended)
            except BaseException:
                self._n_leases -= 1
                raise

    def _open(self) -> PoolExecutor:
        if self._executor is None or backend_of(self._executor).closed:
            self._executor = self._make().bootup()
        backend_of(self._executor).reclaimable = False
        return self._executor

    def _lease_ended(self) -> None:
        with self._lock:  # held during the shutdown, so that no other thread opens one meanwhile
            self._n_leases -= 1
            if self._n_leases or self._executor is None:
                return
            backend = backend_of(self._executor)
            backend.reclaimable = backend.has_unfinished_calls()
            if not backend.reclaimable:
                self._executor.shutdown(wait=False)
                self._executor = None


shared_executor = SharedExecutor()
"""The shared executor of this process."""
