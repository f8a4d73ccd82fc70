"""The environment tells a process whether a launcher started it as one of several."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from bsbpool.exceptions import DependencyError
from bsbpool.services import launchers
from bsbpool.services.launchers import OF_MPI, launch_of_several
from bsbpool.services.mpi import MPIModule
from helpers.launch import environment

STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}
SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_NPROCS": "4"}
PBS = {"PBS_JOBID": "7", "PBS_NP": "4", "PBS_NODENUM": "0", "PBS_VNODENUM": "0"}


@pytest.mark.parametrize(
    ("environ", "launch"),
    [
        ({"PMI_SIZE": "4", "PMI_RANK": "2"}, ("mpi", 4, 2, "PMI_SIZE=4")),
        (
            {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "0"},
            ("mpi", 3, 0, "OMPI_COMM_WORLD_SIZE=3"),
        ),
        (STEP | {"SLURM_PROCID": "3"}, ("slurm", 4, 3, "SLURM_STEP_NUM_TASKS=4")),
        (STEP | {"PMI_SIZE": "4", "PMI_RANK": "1"}, ("mpi", 4, 1, "PMI_SIZE=4")),
        (PBS | {"PBS_TASKNUM": "3", "PBS_VNODENUM": "1"}, ("pbs", 4, 1, "PBS_TASKNUM=3")),
        ({"PBS_TASKNUM": "2"}, ("pbs", 0, -1, "PBS_TASKNUM=2")),
    ],
)
def test_one_of_several_tasks(environ, launch):
    assert launch_of_several(environ) == launch


@pytest.mark.parametrize(
    "environ",
    [
        {},
        SCRIPT,  # a script of sbatch or a shell of salloc starts the program once
        SCRIPT | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_ID": "0"},
        PBS | {"PBS_TASKNUM": "1"},  # the script of qsub
        {"PMI_SIZE": "1", "PMI_RANK": "0"},
        STEP | {"SLURM_PROCID": "0", "PMI_SIZE": "1"},  # mpiexec -n 1 that reaches nodes by srun
        {"PMI_SIZE": "4", "OMPI_COMM_WORLD_SIZE": "1"},  # mpiexec inside of another MPI's
        {"COMPILER_PATH": "/usr/bin", "OMPI_MCA_btl": "tcp", "SLURM_MPI_TYPE": "none"},
    ],
)
def test_a_single_task(environ):
    assert launch_of_several(environ) is None


@pytest.fixture
def no_launcher(monkeypatch):
    for name in (*OF_MPI, *launchers.OF_OTHERS, "SLURM_STEP_NUM_TASKS", launchers.IGNORE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


class TestWithoutMpi4py:
    @pytest.fixture(autouse=True)
    def missing(self, no_launcher):
        no_launcher.setitem(sys.modules, "mpi4py", None)
        no_launcher.setitem(sys.modules, "mpi4py.MPI", None)

    @pytest.mark.parametrize("name", OF_MPI)
    def test_variables_of_launchers_of_mpi_are_refused(self, monkeypatch, name):
        monkeypatch.setenv(name, "0")
        with pytest.raises(DependencyError, match="MPI runtime detected without parallel support"):
            _ = MPIModule("mpi4py.MPI").COMM_WORLD
        monkeypatch.setenv("BSB_IGNORE_PARALLEL", "")
        assert MPIModule("mpi4py.MPI").COMM_WORLD is None

    @pytest.mark.parametrize(
        "name", ["COMPILER_PATH", "MPI_HOME", "OMPI_MCA_btl", "MPICC", "SIMPI_RANK", "PMI_RANKS"]
    )
    def test_similar_names_are_not_refused(self, monkeypatch, name):
        monkeypatch.setenv(name, "1")
        assert MPIModule("mpi4py.MPI").COMM_WORLD is None

    def test_the_warning_names_the_missing_package(self, monkeypatch):
        for name, value in STEP.items():
            monkeypatch.setenv(name, value)
        with pytest.warns(RuntimeWarning, match=r"mpi4py .* missing.*pip install"):
            launchers.warn_if_alone.__wrapped__()


PROGRAM = """
import sys, warnings
from bsbpool import create_job_pool
from bsbpool.futures import PoolExecutor
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    create_job_pool(quiet=True)
    create_job_pool(quiet=True)
    PoolExecutor()
print(*[f"{w.category.__name__}: {w.message}" for w in caught], sep="\\n")
"""
WITH_CHILD = f"""
import subprocess, sys
from mpi4py import MPI
command = ["sh", "-c", '"$0" -c "$1"; :', sys.executable, {PROGRAM!r}]
print(subprocess.check_output(command, text=True))
"""


def warning_of(code=PROGRAM, **variables):
    command = [sys.executable, "-W", "ignore", "-c", code]
    ended = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_tasks_without_pmi_warn_once_with_the_remedy():
    """MPI sees one of four Slurm tasks; the first task warns when it creates its first pool."""
    text = warning_of(**STEP, SLURM_PROCID="0")
    assert text.count("RuntimeWarning") == 1
    assert "one of 4 processes (SLURM_STEP_NUM_TASKS=4)" in text
    assert "srun --mpi=" in text
    assert "BSB_IGNORE_PARALLEL" in text
    assert warning_of(**STEP, SLURM_PROCID="1") == ""
    assert warning_of(**STEP, SLURM_PROCID="0", BSB_IGNORE_PARALLEL="1") == ""
    assert warning_of(**SCRIPT) == ""


def test_an_executor_warns_without_a_pool_before_it():
    code = PROGRAM.replace("    create_job_pool(quiet=True)\n", "")
    assert code.count("create_job_pool") == 1  # the import
    text = warning_of(code, **STEP, SLURM_PROCID="0")
    assert text.count("RuntimeWarning") == 1
    assert "bsbpool doctor" in text


def test_mpiexec_of_another_mpi_warns():
    text = warning_of(PMI_SIZE="4", PMI_RANK="0")
    assert "one of 4 processes (PMI_SIZE=4)" in text
    assert "Use the mpiexec of" in text


def test_children_of_a_process_that_uses_mpi_do_not_warn():
    """They inherit the variables, also through a shell, but no launcher started them."""
    assert warning_of(WITH_CHILD, **STEP, SLURM_PROCID="0") == ""


def test_ranks_of_one_communicator_do_not_warn(no_launcher, monkeypatch):
    class World:
        def Get_size(self):
            return 4

    class Module:
        COMM_WORLD, COMM_NULL = World(), None
        Comm = type("Comm", (), {"Get_parent": staticmethod(lambda: None)})

    monkeypatch.setitem(sys.modules, "mpi4py.MPI", Module)
    monkeypatch.setenv("PMI_SIZE", "4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        launchers.warn_if_alone.__wrapped__()
    World.Get_size = lambda self: 1
    with pytest.warns(RuntimeWarning):
        monkeypatch.setattr(Module, "get_vendor", lambda: ("MPICH", (5,)), raising=False)
        launchers.warn_if_alone.__wrapped__()
