"""A short form of `make chaos`: a few runs in which ranks are killed."""

import pytest

from chaos.kill import LIMIT, Run

KILLS, RUNS = 8, 8
"""The number of kills, and the most runs for them."""


@pytest.mark.limit(RUNS * LIMIT)
def test_every_job_has_an_outcome_whichever_rank_is_killed() -> None:
    kills = 0
    for seed in range(1_000, 1_000 + RUNS):
        outcome = Run(seed).play()
        if any("noticed after" in mistake for mistake in outcome.mistakes):
            outcome = Run(seed).play()  # again, because the machine may have been busy
        assert outcome.mistakes == [], outcome.text
        kills += outcome.kills
        if kills >= KILLS:
            return
    pytest.fail(f"only {kills} ranks were killed in {RUNS} runs")
