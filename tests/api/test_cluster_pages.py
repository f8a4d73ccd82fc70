"""The pages with shell scripts: these are valid. Those on clusters: the check of a start works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from helpers.launch import mpirun
from helpers.typed_examples import programs

ROOT = Path(__file__).parents[2]
PAGES = [
    "docs/bsb.md", "docs/clusters.md", "docs/command-line.md", "docs/scaling.md",
    "docs/start.md", "docs/troubleshooting.md", "docs/tutorial.md",
]  # fmt: skip
SCRIPTS = {
    f"{page}:{number}": script
    for page in PAGES
    for number, script in enumerate(
        re.findall(r"^```bash\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    )
}


@pytest.mark.parametrize("where", SCRIPTS)
def test_scripts_are_valid(where: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=SCRIPTS[where], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_there_are_scripts_for_each_scheduler() -> None:
    text = "".join(SCRIPTS.values())
    assert all(word in text for word in ("#SBATCH", "#PBS", "#FLUX:"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, _, anchor in re.findall(r"\]\(([\w./-]*)(#?)([\w-]*)\)", (ROOT / page).read_text()):
        path = ROOT / "docs" / (target or Path(page).name)
        assert path.exists(), target
        titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M) if path.suffix == ".md" else []
        anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
        assert not anchor or anchor in anchors, anchor


def test_files_of_a_program_can_be_counted(tmp_path: Path) -> None:
    """The commands for a trace count the calls that name a file of the environment."""
    (script,) = (text for text in SCRIPTS.values() if "strace" in text)
    (tmp_path / "trace.1").write_text(
        f'12 openat(AT_FDCWD, "{tmp_path}/venv/a.py", O_RDONLY) = 3\n'
        f'12 newfstatat(AT_FDCWD, "{tmp_path}/venv/b.py", 0x7) = -1 ENOENT\n'
        f'12 newfstatat(AT_FDCWD, "{tmp_path}/venv/c.py", 0x7) = 0\n'
        '12 openat(AT_FDCWD, "/sys/devices", O_RDONLY) = 3\n'
    )
    counting = "\n".join(line for line in script.splitlines() if "strace" not in line)
    done = subprocess.run(
        ["bash", "-c", counting], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.split() == ["trace.1:", "3", "2", "newfstatat", "1", "openat"], done


@pytest.mark.limit(90)
def test_the_check_of_a_start() -> None:
    done = mpirun(3, ROOT / "examples" / "cluster_check.py")
    text = done.stdout
    assert "3 ranks on 1 hosts" in text
    for word in ("Python", "bsbpool", "MPI", "threads", "MPI_Init", "first pool"):
        assert re.search(rf"^.*{word}.*: \S", text, re.M), (word, text)
    assert re.search(r"jobs that do nothing: [\d,]+ per second", text)
    assert re.search(r"a job after the other: \d+ us each", text)
    problems = re.findall(r"^PROBLEM: (.*)$", text, re.M)
    assert f"problems: {len(problems)}" in text
    few_cores = len(os.sched_getaffinity(0)) < 3
    assert [("more ranks than cores" in problem) for problem in problems] == [True] * few_cores
    assert (done.returncode != 0) == few_cores


def test_the_check_notices_that_mpi_sees_one_rank() -> None:
    done = mpirun(1, ROOT / "examples" / "cluster_check.py")
    assert done.returncode == 1
    assert "Every rank sees size 1" in done.stdout
    assert "Every rank sees size 1".lower() in (ROOT / "docs/clusters.md").read_text().lower()


LEAVES = next(text for text in programs("docs/clusters.md") if "deadline=3600" in text)


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_program_that_leaves_in_time_goes_on_later(tmp_path: Path, ranks: int) -> None:
    """All ranks get the signal, as from Slurm."""
    before = "    pool.execute()"  # each rank has its handler soon after
    sends = f"    threading.Timer(2.0, os.kill, (os.getpid(), {int(signal.SIGUSR2)})).start()\n"
    slow = LEAVES.replace(before, sends + before).replace("=3600", "=3600, grace=1")
    slow = slow.replace("    part =", "    time.sleep(0.02 * x)\n    part =")
    assert slow.count("time.sleep") == slow.count("grace=1") == slow.count("Timer") == 1
    (tmp_path / "slow.py").write_text("import os, threading, time\n" + slow)
    (tmp_path / "program.py").write_text(LEAVES)
    done = mpirun(ranks, tmp_path / "slow.py", cwd=tmp_path)
    assert done.returncode == 75, done.stdout
    assert 0 < len(list((tmp_path / "squares").glob("*.json"))) < 100
    done = mpirun(ranks, tmp_path / "program.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert len(list((tmp_path / "squares").glob("*.json"))) == 100


LIMITED = next(text for text in programs("docs/clusters.md") if "SLURM_JOB_END_TIME" in text)


def test_a_time_limit_ends_the_run_before_the_job(tmp_path: Path) -> None:
    sets_end = "os.environ['SLURM_JOB_END_TIME'] = str(time.time() + 2.5)\n"
    (tmp_path / "program.py").write_text(
        LIMITED.replace("return x * x", "time.sleep(0.05 * x); return x * x")
        .replace("RESERVE = 120.0", "RESERVE = 1.0")
        .replace("def square", f"{sets_end}def square")
    )
    done = mpirun(1, tmp_path / "program.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    (number,) = re.findall(r"(\d+) results to write", done.stdout)
    assert 0 < int(number) < 100
