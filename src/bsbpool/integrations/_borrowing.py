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
from bsbpool.futures.crew import is_of_a_crew
from bsbpool.futures.executor import entered


class Lender:
    """Lends one executor to all who ask.

    Parameters
    ----------
    make : callable
        Makes an executor.
    """

    def __init__(self, make: Callable[[], PoolExecutor] = PoolExecutor) -> None:
        self._make = make
        # The garbage collector may give a loan back, from wherever a thread is.
        self._lock = threading.RLock()
        self._executor: PoolExecutor | None = None
        self._borrowers = 0

    def borrow(self) -> Loan:
        """Return a loan of an executor that takes calls."""
        if (found := entered()) is not None:
            return Loan(found, None)
        if is_of_a_crew():  # that of the others may be waiting for this thread
            return Lender(self._make).lend()
        return self.lend()

    def lend(self) -> Loan:
        """Return a loan of the executor that is not anybody's."""
        with self._lock:
            self._borrowers += 1  # first, so that it is not closed meanwhile
            try:
                return Loan(self._open(), self)
            except BaseException:
                self._borrowers -= 1
                raise

    def _open(self) -> PoolExecutor:
        if self._executor is None or self._executor._get_crew().closed:
            self._executor = self._make().bootup()
        self._executor._get_crew().spare = False
        return self._executor

    def _take_back(self) -> None:
        with self._lock:  # until it is shut down, so that nobody opens another before
            self._borrowers -= 1
            if self._borrowers or self._executor is None:
                return
            crew = self._executor._get_crew()
            crew.spare = crew.is_lingering()
            if not crew.spare:
                self._executor.shutdown(wait=False)
                self._executor = None


class Loan:
    """An executor, until it is given back.

    Parameters
    ----------
    executor : PoolExecutor
        The executor.
    lender : Lender, optional
        Whose it is; nobody's when its owner sees to its end.
    """

    def __init__(self, executor: PoolExecutor, lender: Lender | None) -> None:
        self.executor = executor
        self._lender = lender

    def give_back(self) -> None:
        """Need the executor no more; calling it again does nothing."""
        lender, self._lender = self._lender, None
        if lender is not None:
            lender._take_back()

    def __enter__(self) -> PoolExecutor:
        return self.executor

    def __exit__(self, *ignored: object) -> None:
        self.give_back()


lender = Lender()
"""Of this process."""
