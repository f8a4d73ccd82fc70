"""A pytest plugin: ``--effort 0.1`` runs a tenth of the random tests.

These are the examples of Hypothesis, and the tests with a parameter `seed`.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--effort", type=float, default=1.0, help="the share of random tests to run, up to 1"
    )


def pytest_configure(config: pytest.Config) -> None:
    effort = config.getoption("effort")
    if effort < 1:
        from hypothesis import settings

        usual = settings.default.max_examples
        settings.register_profile("effort", max_examples=max(1, round(usual * effort)))
        settings.load_profile("effort")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    every = max(1, round(1 / config.getoption("effort")))
    left_out = [item for item in items if _seed_of(item) % every]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _seed_of(item) % every]


def _seed_of(item: pytest.Item) -> int:
    callspec = getattr(item, "callspec", None)
    seed = callspec.params.get("seed", 0) if callspec else 0
    return seed if isinstance(seed, int) else 0
