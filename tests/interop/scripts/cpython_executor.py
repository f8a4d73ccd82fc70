"""Runs CPython's own tests of executors with ours; its arguments are those of unittest.

Their module must be importable: as part of the interpreter, or as `test_concurrent_futures`.
"""

from __future__ import annotations

import sys
import threading
import time
import unittest
from typing import Any

from bsbpool import services
from bsbpool.futures import PoolExecutor

try:  # from 3.12 on it is a package
    from test.test_concurrent_futures.executor import ExecutorTest
    from test.test_concurrent_futures.test_as_completed import AsCompletedTests
    from test.test_concurrent_futures.test_shutdown import ExecutorShutdownTest
    from test.test_concurrent_futures.test_wait import WaitTests
    from test.test_concurrent_futures.util import BaseTestCase, ExecutorMixin
except ImportError:
    from test_concurrent_futures import (
        AsCompletedTests,
        BaseTestCase,
        ExecutorMixin,
        ExecutorShutdownTest,
        ExecutorTest,
        WaitTests,
    )


class Ours(ExecutorMixin):
    """Makes ours."""

    executor_type = PoolExecutor
    worker_count = max(services.MPI.get_size() - 1, 1)

    def setUp(self) -> None:
        super().setUp()
        self.threads = threading.active_count()

    def tearDown(self) -> None:
        super().tearDown()
        assert not [t for t in threading.enumerate() if t.name == "bsbpool-executor"]


class TestExecutor(Ours, ExecutorTest, BaseTestCase):
    """Submitting and mapping."""


class TestWait(Ours, WaitTests, BaseTestCase):
    """Waiting for some."""


class TestAsCompleted(Ours, AsCompletedTests, BaseTestCase):
    """Waiting for each."""


class TestShutdown(Ours, ExecutorShutdownTest, BaseTestCase):
    """Ends; but for those that write programs of their own, with the names of theirs."""

    test_hang_gh83386: Any = None
    test_interpreter_shutdown: Any = None
    test_submit_after_interpreter_shutdown: Any = None


if __name__ == "__main__":
    began = time.monotonic()
    unittest.main(argv=sys.argv, verbosity=2)
