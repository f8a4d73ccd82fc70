"""Runs CPython's own tests of executors with ours; its arguments are those of unittest.

Their module must be importable: as part of the interpreter, or as `test_concurrent_futures`.
"""

from __future__ import annotations

import os
import subprocess
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
    """Ends, also of programs of their own."""


LAUNCHED = ("PMI", "OMPI_", "MPI_", "HYD")
"""How the variables begin by which a process knows that it is one of several ranks."""


def run_with_ours(*args: str) -> tuple[int, bytes, bytes]:
    """Run a program that is written for an executor of theirs, as a process by itself."""
    *options, program = args
    for theirs, ours in (
        ("concurrent.futures import PoolExecutor", "bsbpool.futures import PoolExecutor"),
        ("PoolExecutor(5)", "PoolExecutor()"),
        ("PoolExecutor(max_workers=3)", "PoolExecutor()"),
        ("test.test_concurrent_futures import", f"{BaseTestCase.__module__} import"),
    ):
        program = program.replace(theirs, ours)
    alone = {name: x for name, x in os.environ.items() if not name.startswith(LAUNCHED)}
    done = subprocess.run(
        [sys.executable, *options, program], env=alone, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.returncode, done.stdout, done.stderr


their_names: dict[str, Any] = ExecutorShutdownTest.test_interpreter_shutdown.__globals__
their_names["assert_python_ok"] = run_with_ours

if __name__ == "__main__":
    began = time.monotonic()
    unittest.main(argv=sys.argv, verbosity=2)
