"""Calls of executors that several ranks run at one time."""

from __future__ import annotations

import pytest

from bsbpool.futures import PoolExecutor

from .test_gangs import ALL, total, wait_for_interrupt, where

pytestmark = pytest.mark.mpi(min_size=3)


def test_executors() -> None:
    with PoolExecutor() as executor:
        if executor is None:
            return
        view = executor.options(ranks=2)
        assert view.submit(total, None, 5).result() == 11
        values = executor.options(ranks=2, gather=True).submit(where, None).result()
        assert [size for _, size, *_ in values] == [2, 2]
        assert list(view.map(total, [None] * 4, range(4))) == [1, 3, 5, 7]
        with pytest.raises(ValueError, match=f"ranks={ALL + 1} is more than the {ALL} workers"):
            executor.options(ranks=ALL + 1).submit(total, None, 1)
        failing = view.submit(wait_for_interrupt, None, 1)
        assert isinstance(failing.exception(), ValueError)
        assert view.submit(total, None, 1).result() == 3


def test_an_executor_with_one_worker() -> None:
    with PoolExecutor(max_workers=1) as executor:
        if executor is not None:
            with pytest.raises(ValueError, match="ranks=2 is more than the 1 workers"):
                executor.options(ranks=2).submit(total, None, 1)
