"""Simulates runs with jobs on several ranks, deaths, failures and cancellations."""

import pytest

from sim.gangs import simulate_gangs

CHUNK = 25


@pytest.mark.parametrize("first", range(0, 500, CHUNK))
def test_seeds(first):
    for seed in range(first, first + CHUNK):
        try:
            simulate_gangs(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_a_seed_gives_the_same_run_again():
    first, again = simulate_gangs(7), simulate_gangs(7)
    assert first.network.trace == again.network.trace
