"""The chain of waiting jobs that the message of a deadlock shows."""

from __future__ import annotations

import time

from bsbpool._core.jobs.wait_chain import wait_chain
from bsbpool._core.testing.manual_engine import ManualEngine
from helpers.tangle import turn_edge


def test_100000_jobs_are_examined_quickly():
    engine = ManualEngine()
    engine.submit()
    for n in range(100_000):
        engine.submit([n])
    turn_edge(engine, 99_999, 100_000, 0)
    began = time.thread_time()
    chain = wait_chain(engine)
    assert time.thread_time() - began < 0.2
    assert chain == [0, *range(99_999, -1, -1)]


def test_without_waiting_jobs_the_chain_is_empty():
    engine = ManualEngine()
    assert wait_chain(engine) == []
    engine.cancel(engine.submit())
    assert wait_chain(engine) == []
