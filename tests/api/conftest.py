"""Fixtures: open pools."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from bsbpool import JobPool, create_job_pool
from bsbpool.integrations.bsb.pool import BsbJobPool


@pytest.fixture(autouse=True)
def _same_logging() -> Iterator[None]:
    """Restore the level of the loggers: with DEBUG, each job of later tests would be logged."""
    log = logging.getLogger("bsbpool")
    before = log.level
    yield
    log.setLevel(before)


@pytest.fixture
def pool() -> Iterator[JobPool]:
    """A serial pool without an owner, inside its ``with`` block."""
    with create_job_pool(quiet=True) as pool:
        yield pool


@pytest.fixture
def bsb_pool() -> Iterator[BsbJobPool]:
    """A serial pool with BSB's names and without an owner, inside its ``with`` block."""
    with BsbJobPool(1, None) as pool:
        yield pool
