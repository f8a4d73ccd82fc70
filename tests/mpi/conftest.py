"""The shapes of pools. Tests that use the fixture `shape` run once with each."""

from __future__ import annotations

import pytest

SHAPES = [
    pytest.param("workers", id="workers"),
    pytest.param("main-works", id="main-works", marks=pytest.mark.main_works),
]


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the shape of all pools that the test makes; return its name."""
    shape: str = request.param
    monkeypatch.setenv("BSBPOOL_MAIN_WORKS", "1" if shape == "main-works" else "0")
    return shape
