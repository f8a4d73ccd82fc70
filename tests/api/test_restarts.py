"""Programs that are killed and started again. `make chaos-restart` has the long form."""

import pytest

from chaos.restart import RestartRun
from helpers.launch import mpirun

assert mpirun  # the marker `launches` is for modules that have it


@pytest.mark.parametrize(("seed", "ranks"), [(1, 1), (2, 1), (3, 3)])
def test_a_program_that_is_killed_goes_on(seed, ranks):
    run = RestartRun(seed, ranks, most_kills=2)
    run.play()
    assert run.mistakes == []
    assert run.kills or run.n_kills  # the last start may have ended before it was killed
