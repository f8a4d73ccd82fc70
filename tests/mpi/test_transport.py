"""Messages above the size limit of MPI are sent in pieces."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from bsbpool.services import channels

from .support import MAIN, WORLD, give, run
from .test_payloads import pattern

pytestmark = pytest.mark.mpi(min_size=2)

PIECE = 128 * 1024


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch):
    """Return a communicator whose channel sends at most `PIECE` bytes in a message."""
    transport = functools.partial(channels.mpi_module().MPITransport, piece=PIECE)
    small = SimpleNamespace(MPITransport=transport)
    monkeypatch.setattr(channels, "mpi_module", lambda: small)
    comm = WORLD.Dup()
    yield comm
    comm.Free()


@pytest.mark.parametrize(
    "size",
    [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE - 1, 2 * PIECE, 2 * PIECE + 1, 100 * PIECE + 7],
)
def test_any_number_of_pieces(pieces, size: int) -> None:
    results = run(lambda pool: [pool.submit(give, pattern(size, i)) for i in range(8)], comm=pieces)
    for i, result in enumerate(results or ()):
        assert np.array_equal(result, pattern(size, i))


def test_a_large_pickle_and_many_parts(pieces) -> None:
    sent = [pattern(3 * PIECE + n, n) for n in range(10)] + [bytes(5 * PIECE), "x" * PIECE]
    for result in run(lambda pool: [pool.submit(give, sent) for _ in range(6)], comm=pieces) or ():
        assert result[10:] == sent[10:]
        assert all(np.array_equal(a, b) for a, b in zip(result[:10], sent[:10], strict=True))


def test_a_communicator_can_be_freed_and_made_again() -> None:
    for n in range(30):
        comm = WORLD.Dup()
        result = run(lambda pool, n=n: pool.submit(give, n), comm=comm)
        assert result == (n if MAIN else None)
        comm.Free()
