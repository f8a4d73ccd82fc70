"""The public names of the package, and the commands that start programs."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import pytest

import bsbpool
from helpers.launch import environment

# ------------------------------------------------------------------ names

LOOK = """
import sys, bsbpool
before = set(sys.modules)
assert {name!r} in dir(bsbpool)
thing = bsbpool.{name}
assert thing is sys.modules["bsbpool.{home}"]{attribute}, thing
assert not {{"mpi4py", "numpy", "bsb", "joblib", "scinexus"}} & set(sys.modules)
"""


@pytest.mark.parametrize(
    ("name", "home", "attribute"),
    [
        ("services", "services", ""),
        ("futures", "futures", ""),
        ("integrations", "integrations", ""),
        ("exceptions", "exceptions", ""),
        ("listeners", "listeners", ""),
        ("progress", "progress", ""),
        ("PoolExecutor", "futures", ".PoolExecutor"),
    ],
)
def test_31_all_names_of_the_package_are_available_after_its_import(name, home, attribute):
    code = LOOK.format(name=name, home=home, attribute=attribute)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_31_importing_the_package_imports_none_of_them():
    code = "import sys, bsbpool; print(*(m for m in sys.modules if m.startswith('bsbpool.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_31_an_integration_is_an_attribute_as_well():
    code = "import bsbpool; bsbpool.integrations.mpipool.MPIExecutor"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    for package in (bsbpool, bsbpool.integrations):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = package.nothing


# ------------------------------------------------------------------ commands


def python(*args, cwd=None):
    """Run Python; return the exit code, the lines on standard output and those of errors."""
    done = subprocess.run(
        [sys.executable, *args], env=environment(), cwd=cwd, capture_output=True, text=True
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


COMMANDS = [["-m", "bsbpool", "run"], ["-m", "bsbpool.run"]]


def test_31_python_m_bsbpool_is_the_command():
    assert python("-m", "bsbpool", "--version") == (0, [f"bsbpool {bsbpool.__version__}"], [])
    code, out, _ = python("-m", "bsbpool", "--help")
    assert code == 0 and {"bsb", "run"} <= {line.split()[0] for line in out if line.strip()}
    assert python("-m", "bsbpool", "brew")[0] == 2
    code, _, errors = python("-m", "bsbpool", "run")
    assert (code, errors[0].split(" [")[0]) == (2, "usage: bsbpool run")
    assert python("-m", "bsbpool.run")[0] == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with programs and with other files."""
    folder = tmp_path_factory.mktemp("programs")
    program = "import sys, beside\nprint(__name__, sys.argv[1:], beside.x)\nsys.exit(3)\n"
    (folder / "good.py").write_text(program)
    (folder / "beside.py").write_text("x = 1\n")
    (folder / "empty").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "__main__.py").write_text(program)
    (folder / "full" / "beside.py").write_text("x = 1\n")
    with zipfile.ZipFile(folder / "full.zip", "w") as archive:
        archive.write(folder / "full" / "__main__.py", "__main__.py")
        archive.write(folder / "beside.py", "beside.py")
    (folder / "wrong.py").write_text("x = = 1\n")
    (folder / "null.py").write_bytes(b"x = 1\0\n")
    (folder / "loop.py").symlink_to("loop.py")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("program", ["good.py", "full", "full.zip", "./good.py"])
def test_31_programs_run_with_their_exit_code(command, program, folder):
    expected = (3, ["__main__ ['a', '-b'] 1"], [])
    assert python(program, "a", "-b", cwd=folder) == expected
    assert python(*command, program, "a", "-b", cwd=folder) == expected


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("program", "words"),
    [
        (["nothere.py"], "cannot open 'nothere.py': No such file"),
        (["loop.py"], "cannot open 'loop.py': Too many levels of symbolic links"),
        (["good.py/x"], "cannot open 'good.py/x': Not a directory"),
        (["empty"], "'empty' has no '__main__' module"),
        (["-m", "nothere"], "there is no module named nothere"),
        (["-m", "not.here"], "no module named not.here"),
        (["-m", "empty"], "empty is a package without a module named empty.__main__"),
        (["-m", "beside.here"], "no module named beside.here"),
    ],
)
def test_31_a_missing_program_is_reported_in_one_line(command, program, words, folder):
    code, out, errors = python(*command, *program, cwd=folder)
    assert code == python(*program, cwd=folder)[0]
    assert out == [] and len(errors) == 1
    assert words in errors[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("program", ["wrong.py", "null.py"])
def test_31_a_syntax_error_is_shown_as_by_the_interpreter(command, program, folder):
    code, out, errors = python(*command, program, cwd=folder)
    assert (code, out) == (1, [])
    assert errors[-1].startswith("SyntaxError")
    assert "Traceback" not in "".join(errors) and "bsbpool" not in "".join(errors)
    if program == "wrong.py":
        assert errors[-3:] == python(program, cwd=folder)[2][-3:]
