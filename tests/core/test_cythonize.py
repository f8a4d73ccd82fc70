"""`cmake/cythonize.py` translates the modules of a group that changed, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cmake" / "cythonize.py"


@pytest.fixture
def build(tmp_path):
    """A build folder with two modules; `first` uses a .pxd file."""
    core = tmp_path / "bsbpool" / "_core"
    core.mkdir(parents=True)
    (core.parent / "__init__.pxd").touch()
    (core / "__init__.pxd").touch()
    (core / "shared.pxd").write_text("cdef enum:\n    ANSWER = 42\n")
    text = "from bsbpool._core.shared cimport ANSWER\n\ndef answer():\n    return ANSWER\n"
    (core / "first.pyx").write_text(text)
    (core / "second.pyx").write_text("def nothing():\n    pass\n")
    for path in core.iterdir():  # C files must be newer than their sources, also on coarse clocks
        os.utime(path, (1e9, 1e9))
    return tmp_path


def cythonize(build):
    """Run the script; return the process, and the modules that it has translated."""
    before = {path: path.stat().st_mtime_ns for path in build.glob("*.c")}
    sources = [f"{name}=bsbpool/_core/{name}.pyx" for name in ("first", "second")]
    command = [sys.executable, SCRIPT, "group", "-X", "language_level=3", "-I", "."]
    done = subprocess.run(
        [*command, "--", *sources], cwd=build, capture_output=True, text=True, timeout=120
    )
    after = {path: path.stat().st_mtime_ns for path in build.glob("*.c")}
    changed = {path.stem for path in after if after[path] != before.get(path)}
    return done, changed


def test_only_changed_modules_are_translated(build):
    assert cythonize(build)[1] == {"first", "second"}
    target, _, sources = (build / "group.d").read_text().partition(":")
    assert target == "first.c"
    names = {Path(source).name for source in sources.split()}
    assert {"first.pyx", "second.pyx", "shared.pxd"} <= names
    os.utime(build / "first.c", (0, 0))  # older than shared.pxd, which only `first` uses
    assert cythonize(build)[1] == {"first"}


def test_other_options_translate_all_modules_and_errors_leave_no_c_file(build):
    (build / "first.c").write_text("from other options")
    (build / "first.c.dep").write_text("first.c: bsbpool/_core/first.pyx\n")
    (build / "group.options").write_text("other options")
    (build / "bsbpool/_core/second.pyx").write_text("def nothing(:\n")
    done, changed = cythonize(build)
    assert done.returncode != 0
    assert "second.pyx:1" in done.stderr
    assert changed == {"first"}
    assert not (build / "second.c").exists()


def test_the_result_is_that_of_cython(build):
    """The C file does not depend on the modules that were translated before."""
    cythonize(build)
    together = (build / "second.c").read_text()
    subprocess.run(
        [
            sys.executable, "-m", "cython", "-X", "language_level=3", "-I", ".", "--module-name",
            "bsbpool._core.second", "-o", "second.c", "bsbpool/_core/second.pyx",
        ],
        cwd=build, check=True, timeout=120,
    )  # fmt: skip
    assert (build / "second.c").read_text() == together
