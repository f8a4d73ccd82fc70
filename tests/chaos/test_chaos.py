"""A short form of `make chaos`: some runs in which ranks are killed."""

import pytest

from chaos.kill import LIMIT, Run

KILLS, RUNS = 8, 8
"""How many ranks must have been killed, and in how many runs at most."""


@pytest.mark.limit(RUNS * LIMIT)
def test_every_job_is_accounted_for_whoever_dies() -> None:
    kills = 0
    for seed in range(1_000, 1_000 + RUNS):
        outcome = Run(seed).play()
        if any("noticed after" in mistake for mistake in outcome.mistakes):
            outcome = Run(seed).play()  # once more: the machine may have had other things to do
        assert outcome.mistakes == [], outcome.text
        kills += outcome.kills
        if kills >= KILLS:
            return
    pytest.fail(f"only {kills} ranks were killed in {RUNS} runs")
