"""Runs mpi4py's own tests of executors with ours; their module must be importable.

Left out is what is about mpi4py alone: how it starts workers, and its other kinds of futures.
"""

from __future__ import annotations

import unittest
from typing import Any

import mpi4py.futures._core as core

core.SharedPool = core.SharedPool or True  # else the module leaves out what we are here for
import test_futures as theirs  # noqa: E402

from bsbpool.futures import PoolExecutor  # noqa: E402


class Ours(theirs.ExecutorMixin):
    """Makes ours."""

    executor_type = PoolExecutor


class TestWait(Ours, theirs.WaitTestMixin, unittest.TestCase):
    """Waiting for some."""


class TestAsCompleted(Ours, theirs.AsCompletedTestMixin, unittest.TestCase):
    """Waiting for each."""


class TestShutdown(Ours, theirs.ExecutorShutdownTestMixin, unittest.TestCase):
    """Ends."""


class TestExecutor(Ours, theirs.ProcessPoolExecutorTest):
    """Submitting and mapping, with their additions to `map`."""

    test_map_buffersize: Any = None  # it wants `unordered` refused with it; ours can do both


class TestPickles(theirs.ProcessPoolPickleTest):
    """What pickles badly."""

    test_exc_unpickle: Any = None  # it names their class of remote tracebacks

    def setUp(self) -> None:
        self.executor = PoolExecutor(max_workers=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
