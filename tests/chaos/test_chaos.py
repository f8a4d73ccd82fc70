"""A short form of `make chaos`: some runs in which ranks are killed."""

import pytest

from chaos.kill import LIMIT, Run


@pytest.mark.limit(LIMIT + 30)
@pytest.mark.parametrize("seed", range(1_000, 1_006))
def test_every_job_is_accounted_for_whoever_dies(seed: int) -> None:
    outcome = Run(seed).play()
    assert outcome.mistakes == [], outcome.text
    assert outcome.kills
