"""Callables with state, and what travels by value, in one process and under `bsbpool.run`."""

from __future__ import annotations

import pytest

from bsbpool.futures import PoolExecutor
from helpers.callables import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_in_one_process(check) -> None:
    with PoolExecutor() as executor:
        assert executor is not None
        check(executor)
