"""What a first serial pool imports: few modules, few files, and nothing slow.

On the shared file systems of clusters each rank opens each file, so the number of files counts. The
counts are those of a program without mpi4py, whose own imports bsbpool cannot change.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys

sys.modules["mpi4py"] = None  # as if it was not installed
before = set(sys.modules)
files = set()


def note_files(event, args):
    name = args[0] if event == "open" else args[1] if event == "import" else None
    if isinstance(name, str) and "/bsbpool/" in name and not name.endswith("/"):
        folder, _, file = name.replace("__pycache__/", "").rpartition("/")
        files.add(folder + "/" + file.partition(".")[0])


sys.addaudithook(note_files)
{code}
print(*sorted(set(sys.modules) - before))
print(*sorted(files))
"""

FIRST_POOL = """
def nothing(owner):
    pass


from bsbpool import create_job_pool

with create_job_pool(quiet=True) as pool:
    pool.queue(nothing, ())
    pool.execute()
"""

MOST_MODULES = 62
MOST_FILES = 26

SLOW = [
    "asyncio", "ast", "bz2", "cloudpickle", "ctypes", "dataclasses", "difflib", "hashlib",
    "inspect", "logging", "lzma", "multiprocessing", "numpy", "pickle", "platform", "queue",
    "random", "shutil", "socket", "subprocess", "tempfile", "textwrap", "tokenize", "traceback",
    "uuid", "weakref", "zlib",
]  # fmt: skip
"""Modules that take long to import and that a serial pool does not need."""

MULTIPLE_PROCESSES = "bsbpool._core.comm", "bsbpool._core.protocol", "bsbpool.execution.main"
"""Modules that only pools of several processes need."""


@pytest.fixture(scope="module")
def imports() -> tuple[list[str], list[str]]:
    """Return the modules and the files of bsbpool that a first pool loads."""
    modules, files = _imports_of(FIRST_POOL)
    return modules, files


def _imports_of(code: str) -> tuple[list[str], list[str]]:
    program = PROGRAM.replace("{code}", code)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    modules, files = run.stdout.splitlines()
    return modules.split(), files.split()


def test_a_first_pool_loads_few_modules(imports: tuple[list[str], list[str]]) -> None:
    modules, _ = imports
    assert len(modules) <= MOST_MODULES, modules


def test_a_first_pool_opens_few_files(imports: tuple[list[str], list[str]]) -> None:
    _, files = imports
    assert len(files) <= MOST_FILES, files


def test_a_first_pool_loads_no_slow_module(imports: tuple[list[str], list[str]]) -> None:
    modules, _ = imports
    assert not set(modules) & set(SLOW)


def test_a_first_pool_loads_no_module_for_several_processes(
    imports: tuple[list[str], list[str]],
) -> None:
    modules, _ = imports
    assert not [name for name in modules if name.startswith(MULTIPLE_PROCESSES)]


def test_importing_the_package_imports_no_other_module_of_it() -> None:
    modules, files = _imports_of("import bsbpool")
    assert [name for name in modules if "bsbpool" in name] == ["bsbpool"]
    assert len(files) == 1


COUNT = """
import collections
import runpy
import sys
from importlib import _bootstrap_external

opens, looks = collections.Counter(), collections.Counter()
look = _bootstrap_external._path_stat


def note_opens(event, args):
    if event == "open" and isinstance(args[0], str) and "/bsbpool/" in args[0]:
        opens[args[0]] += 1


def note_look(path):
    if "/bsbpool/" in str(path) and str(path).endswith(".py"):
        looks[str(path)] += 1
    return look(path)


sys.addaudithook(note_opens)
_bootstrap_external._path_stat = note_look
try:
    {code}
except SystemExit:
    pass
assert opens
print([path for path in opens if opens[path] > 1], max(looks.values()))
"""
RUN = """
sys.argv = ["run", "-c", "import bsbpool.run"]
runpy.run_module("bsbpool.run", {}, "__main__")
"""


@pytest.mark.parametrize("code", ["import bsbpool", FIRST_POOL, RUN], ids=["import", "pool", "run"])
def test_no_file_is_opened_twice(code: str) -> None:
    """Python itself looks at a source file twice: to find it, and to see whether it has changed."""
    program = COUNT.replace("{code}", code.strip().replace("\n", "\n    "))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[] 2\n"), done.stderr or done.stdout
