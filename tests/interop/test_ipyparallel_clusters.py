"""Clusters under `python -m bsbpool.run` use workers of the program, alone or with a client."""

from __future__ import annotations

import pytest

from .launch import python

pytestmark = pytest.mark.interop

ONE_AFTER_THE_OTHER = """
import bsbpool.integrations.ipyparallel as ipp
for n in (8, 2, 1, None):
    with ipp.Cluster(n=n) as rc:
        print(n, rc.ids, rc[:].apply_sync(abs, -1))
"""
WITH_A_CLIENT = """
import bsbpool.integrations.ipyparallel as ipp
client = ipp.Client()
client[:]["a"] = 5
for n in (8, 3, None):
    with ipp.Cluster(n=n) as rc:
        print(n, rc.ids, rc[:]["a"])
try:
    ipp.Cluster(n=2).start_cluster_sync()
except RuntimeError as error:
    print(error)
print(client[:]["a"])
"""


def lines(code: str) -> list[str]:
    return python("-m", "bsbpool.run", "-c", code, ranks=4).ok().output.splitlines()


def test_one_after_the_other() -> None:
    engines = [(8, 3), (2, 2), (1, 1), (None, 3)]
    assert lines(ONE_AFTER_THE_OTHER) == [f"{n} {[*range(k)]} {[1] * k}" for n, k in engines]


def test_clusters_share_the_engines_of_a_client() -> None:
    *shared, refused, after = lines(WITH_A_CLIENT)
    assert shared == [f"{n} [0, 1, 2] [5, 5, 5]" for n in (8, 3, None)]
    assert refused.startswith("Cluster(n=2) cannot use a part of the 3 engines")
    assert after == "[5, 5, 5]"
