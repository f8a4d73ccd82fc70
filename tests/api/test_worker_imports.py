"""What a worker imports before its first job: on a cluster each rank opens each file."""

from __future__ import annotations

from pathlib import Path

from helpers.launch import mpirun

MOST_MODULES = 96
LATE = ["ast", "dataclasses", "dis", "hashlib", "inspect", "random", "shutil", "socket", "tempfile"]
"""Modules that a worker does not need to run a function that it can import."""

WORKER = """
import sys

before = set(sys.modules)
from mpi4py import MPI

before |= set(sys.modules)
import reports
from bsbpool import create_job_pool

with create_job_pool(quiet=True) as pool:
    if pool.is_main():
        job = pool.queue(reports.modules)
    pool.execute()
    if pool.is_main():
        print(*sorted(set(job.result) - before))
"""


def test_a_worker_imports_few_modules(tmp_path: Path) -> None:
    (tmp_path / "reports.py").write_text("import sys\ndef modules(owner): return [*sys.modules]\n")
    (tmp_path / "program.py").write_text(WORKER)
    done = mpirun(2, tmp_path / "program.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    modules = done.stdout.split()
    assert "bsbpool.execution.worker" in modules
    assert not set(modules) & set(LATE)
    assert len(modules) <= MOST_MODULES, modules
