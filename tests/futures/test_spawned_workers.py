"""Workers that a single process spawns."""

from __future__ import annotations

import subprocess
import sys

import pytest

from helpers.launch import environment, launcher

LIMIT = 60.0
PROGRAM = """
import sys
from bsbpool.integrations.mpi4py_futures import (
    MPICommExecutor, MPIPoolExecutor, get_comm_workers
)

def meet(n):
    workers = get_comm_workers()
    return workers.allreduce(1), workers.rank

def here():
    try:
        return get_comm_workers()
    except RuntimeError as error:
        return str(error)

if __name__ == "__main__":
    for kind in (MPICommExecutor, MPIPoolExecutor):
        with kind(max_workers=3) as executor:
            futures = [executor.submit(meet, n) for n in range(3)]
            assert sorted(f.result() for f in futures) == [(3, 0), (3, 1), (3, 2)]
            assert "not accessible" in here(), here()
    with MPICommExecutor(max_workers=1) as executor:  # a thread
        assert executor.submit(meet, 1).result() == (1, 0)
    sys.path.append(sys.argv[1])
    from beside import triple
    with MPIPoolExecutor(max_workers=3) as executor:
        assert list(executor.map(triple, range(9), chunksize=1)) == list(range(0, 27, 3))
    print("met")
"""


@pytest.mark.limit(LIMIT + 30)
def test_spawned_workers_have_a_communicator_and_the_search_path(tmp_path) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "folder"
    program.write_text(PROGRAM)
    folder.mkdir()
    (folder / "beside.py").write_text("def triple(x): return 3 * x")
    command = [*launcher(1), sys.executable, str(program), str(folder)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (0, "met\n"), done.stdout + done.stderr
