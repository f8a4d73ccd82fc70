"""An open pool for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bsbpool import JobPool, create_job_pool


@pytest.fixture
def pool() -> Iterator[JobPool]:
    """A serial pool without an owner, inside its ``with`` block."""
    with create_job_pool(quiet=True) as pool:
        yield pool
