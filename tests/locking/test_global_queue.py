"""The queue of nodes: random orders of the steps of four ranks on two or three nodes."""

from __future__ import annotations

import random

import pytest

from locking.stepped import UNCERTAIN, World


def scripts(seed: int, n: int) -> list[list[str]]:
    r = random.Random(seed)
    return [[r.choice("rw") for _ in range(3)] for _ in range(n)]


@pytest.mark.parametrize("is_direct", [True, False])
@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_no_reader_is_beside_a_writer_and_all_have_their_turn(nodes, is_direct) -> None:
    for seed in range(15):
        world = World(4, nodes, seed, is_direct=is_direct)
        assert world.run(scripts(seed, 4)), f"seed {seed}: the lock is in use or not given back"


@pytest.mark.parametrize("dies", [0, 1])
def test_a_death_at_any_step_does_not_keep_the_lock(dies) -> None:
    stages = set()
    for at in range(1, 51):
        world = World(4, 2, at, dies, at)
        done = world.run(scripts(at, 4), seconds=2.5)
        stages.add(world.died_at)
        if world.died_at not in UNCERTAIN:
            assert done, f"rank {dies} died at its step {at}, in stage {world.died_at}"
    assert len(stages - {None}) >= 5, stages
