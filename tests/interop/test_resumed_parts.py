"""What is cleared before a compile goes on, without a compile."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bsbpool
from bsbpool import exceptions
from bsbpool.integrations.bsb.resuming import connectivity, files, placement, state
from bsbpool.integrations.bsb.resuming.keys import PhaseKeys, PlannedJob
from bsbpool.journal import Journal
from bsbpool.journal.contents import JournalContents
from bsbpool.journal.digests import digest_of_key

pytestmark = pytest.mark.interop

A, B = 0, 1
"""The ids of two chunks, at (0, 0, 0) and (1, 0, 0)."""


def places(text: str, types: str, chunk: int | None) -> PlannedJob:
    """Return a placement job."""
    node = SimpleNamespace(cell_types=[SimpleNamespace(name=name) for name in types.split()])
    return PlannedJob(text, node, None if chunk is None else frozenset([chunk]))


def connects(text: str, tag: str, pre: Any, post: Any) -> PlannedJob:
    """Return a connectivity job."""
    node = SimpleNamespace(get_output_names=lambda: [tag])
    sides = [None if side is None else frozenset(side) for side in (pre, post)]
    return PlannedJob(text, node, None, *sides)


def test_the_digest_of_a_key_is_that_in_the_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "a.journal")
    with bsbpool.create_job_pool(quiet=True, journal=path) as pool:
        pool.options(key="größer/2").queue(lambda owner: None)
        pool.execute()
    assert [job.key for job in JournalContents(path).jobs()] == [digest_of_key("größer/2")]


def test_jobs_whose_results_are_not_kept_are_left(tmp_path: Path) -> None:
    path = str(tmp_path / "a.journal")
    journal = Journal(path, side_file_size=1000)
    calls = {"none": print, "number": int, "lock": threading.Lock, "large": lambda: bytes(5000)}
    with bsbpool.create_job_pool(quiet=True, journal=journal) as pool:
        for key, f in calls.items():
            pool.options(key=key).queue(lambda owner, f=f: f())
        pool.execute()
    expected = {digest_of_key(key) for key in ("none", "number", "large")}
    assert JournalContents(path).resumable() == expected
    for file in Path(f"{path}.d").iterdir():
        file.unlink()
    assert JournalContents(path).resumable() == expected - {digest_of_key("large")}


def test_equal_calls_have_keys_of_their_own() -> None:
    known = state.CompileState("network.hdf5")
    keys, same = PhaseKeys(known, "placement"), PhaseKeys(known, "placement")
    texts = [keys.text_of(SimpleNamespace(name="a"), "place 0") for _ in range(2)]
    assert texts == [same.text_of(SimpleNamespace(name="a"), "place 0") for _ in range(2)]
    assert len(set(texts)) == 2
    before = keys.key_of(texts[0])
    known.again[texts[0]] = 1
    assert keys.key_of(texts[0]) != before
    known.discard(["placement"])
    assert PhaseKeys(known, "placement").text_of(SimpleNamespace(name="a"), "place 0") not in texts


def test_jobs_that_place_the_same_cells_run_again() -> None:
    jobs = [
        places("left", "x y", A),
        places("same chunk", "y z", A),
        places("other type", "w", A),
        places("other chunk", "x", B),
        places("through z", "z", A),
    ]
    regions, again = placement.closure(jobs, jobs[:1])
    assert [job.text for job in again] == ["left", "same chunk", "through z"]
    assert regions == {("x", A), ("y", A), ("z", A)}


@pytest.mark.parametrize("left", [0, 1])
def test_a_job_of_all_chunks_touches_each(left: int) -> None:
    jobs = [places("all", "x", None), places("one", "x", B), places("other", "y", B)]
    _, again = placement.closure(jobs, [jobs[left]])
    assert [job.text for job in again] == ["all", "one"]


def test_jobs_that_connect_the_same_blocks_run_again() -> None:
    jobs = [
        connects("left", "t", [A], [A, B]),
        connects("other block", "t", [B], [A, B]),
        connects("other set", "u", [A], [A, B]),
        connects("same block", "t", [A], [B]),
    ]
    again = connectivity.closure(jobs, jobs[:1])
    assert [job.text for job in again] == ["left", "same block"]


@pytest.fixture
def network(tmp_path: Path) -> Any:
    """Return an HDF5 file with the sets x (cells) and t (connections)."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "network.hdf5", "w") as file:
        for name in ("files", "morphologies", "placement/x", "connectivity/t"):
            file.create_group(name)
        for chunk in (A, B):
            file[f"placement/x/{chunk}/position"] = [[0.0] * 3] * 2
        file["placement/x"].attrs["chunks"] = json.dumps({"0": 2, "1": 2})
        for side in ("inc", "out"):
            for local in (A, B):
                group = file.create_group(f"connectivity/t/{side}/{local}")
                # Two rows with chunk A, one with chunk B: the pre and post cells of each.
                rows = [[local, A, 0], [local, A, 1], [local, B, 2]]
                for name in ("local_locs", "global_locs"):
                    mine = (name == "local_locs") == (side == "out")
                    values = [[n + 10 * mine] * 3 for _, _, n in rows]
                    group.create_dataset(name, data=values, maxshape=(None, 3))
                group.attrs["chunk_list"] = [[A, 0, 0], [B, 0, 0]]
                group.attrs["0"], group.attrs["1"] = 0, 2
        yield file


def test_clearing_cells(network: Any) -> None:
    placement.clear(network, {("x", B), ("not there", A)})
    placement.check(network, "network.hdf5")
    placement.recount(network)
    assert list(network["placement/x"]) == ["0"]
    assert network["placement/x"].attrs["len"] == 2
    assert json.loads(network.attrs["chunks"])["0"]["placed"] == 2


def test_damaged_counts_of_cells_are_found(network: Any) -> None:
    del network["placement/x/1"]
    with pytest.raises(exceptions.JournalError, match="x has 2 cells in chunk 1"):
        placement.check(network, "network.hdf5")


def test_clearing_connections(network: Any) -> None:
    jobs = [connects("", "t", [A], [A]), connects("", "t", [B], None)]
    connectivity._clear_set(network["connectivity/t"], connectivity._is_dropped(jobs))
    kept = network["connectivity/t"]
    assert sorted(kept["out"]) == ["0"]
    assert sorted(kept["inc"]) == ["1"]
    assert kept["out/0"].attrs["chunk_list"].tolist() == [[B, 0, 0]]
    assert kept["out/0/local_locs"][:].tolist() == [[12] * 3]
    assert kept["out/0"].attrs["1"] == 0


def test_connections_that_differ_on_both_sides_are_found(network: Any) -> None:
    del network["connectivity/t/out/1"]
    with pytest.raises(exceptions.JournalError, match="the connections from chunk 1 to 0 differ"):
        connectivity._check_set(network["connectivity/t"], "network.hdf5 is damaged: in t")


def test_a_damaged_file_is_found(tmp_path: Path, network: Any) -> None:
    path = tmp_path / "network.hdf5"
    network.close()
    assert files.problem_of(str(path)) == ""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert "OSError" in files.problem_of(str(path))
    path.write_bytes(b"")
    assert files.problem_of(str(path))


def test_the_state_survives(tmp_path: Path) -> None:
    journal = str(tmp_path / "run.journal")
    assert state.read(journal) is None
    written = state.CompileState("network.hdf5", "digest", 3, began={"placement": "x"})
    state.write(journal, written)
    assert state.read(journal) == written
    Path(journal + state.SUFFIX).write_text("{")
    with pytest.raises(exceptions.JournalError, match="delete both"):
        state.read(journal)
