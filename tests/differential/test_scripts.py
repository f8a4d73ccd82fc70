"""Some random scripts in one launch; `make differential` or ``python -m differential.scripts``
runs many."""

from __future__ import annotations

import pytest

from differential.scripts import launch


@pytest.mark.limit(150)
@pytest.mark.parametrize(("ranks", "first"), [(2, 0), (4, 1_000_000)])
def test_calls_return_what_the_script_itself_returned_at_their_submission(ranks, first):
    done = launch(ranks, first, 40, timeout=120)
    assert done.returncode == 0 and "40 programs, 0 differ" in done.stdout, done.stdout
