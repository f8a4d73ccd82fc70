"""Translate a group of Cython modules to C in one process.

    cythonize.py GROUP OPTION... -- MODULE=SOURCE...

The C file of a module is MODULE.c in the current folder, the same that `cython OPTION...
--module-name bsbpool._core.MODULE SOURCE` writes. A process for each module would need twice the
time, because Cython builds its scanner and its tables of types at the start. Only modules whose
sources changed are translated, so the other C files are not compiled again. GROUP.d gets the
sources of all modules, for the build tool.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import Cython
from Cython.Compiler import Main

PACKAGE = "bsbpool._core"


def sources_of(c_file: Path) -> list[str]:
    """Return the sources of a C file, as Cython wrote them to its depfile."""
    text = c_file.with_name(f"{c_file.name}.dep").read_text()
    return re.split(r"\s+", text.partition(":")[2].replace("\\\n", " ").strip())


def is_current(c_file: Path) -> bool:
    """Whether a C file exists and is newer than all of its sources."""
    try:
        written = c_file.stat().st_mtime_ns
        return all(Path(source).stat().st_mtime_ns < written for source in sources_of(c_file))
    except FileNotFoundError:
        return False


def discard_others(record: Path, options: list[str], c_files: list[Path]) -> None:
    """Delete the C files if other options or another Cython made them."""
    settings = "\n".join([Cython.__version__, *options, *map(str, c_files)])
    if record.exists() and record.read_text() == settings:
        return
    for c_file in c_files:
        c_file.unlink(missing_ok=True)
    record.write_text(settings)


def translate(c_file: Path, source: str, options: list[str]) -> None:
    """Run Cython's command line for one module."""
    names = ["--module-name", f"{PACKAGE}.{c_file.stem}", "-o", c_file.name]
    sys.argv = ["cython", *options, "--depfile", *names, source]
    try:
        Main.main(command_line=1)
    except BaseException:
        c_file.unlink(missing_ok=True)
        raise


def write_depfile(group: str, c_files: list[Path]) -> None:
    """Write the sources of all modules to GROUP.d."""
    sources = sorted({source for c_file in c_files for source in sources_of(c_file)})
    Path(f"{group}.d").write_text(f"{c_files[0].name}: {' '.join(sources)}\n")


def main(group: str, *arguments: str) -> None:
    """Translate the modules of a group that changed."""
    end = arguments.index("--")
    options = list(arguments[:end])
    sources = {
        Path(f"{module}.c"): source
        for module, _, source in (entry.partition("=") for entry in arguments[end + 1 :])
    }
    discard_others(Path(f"{group}.options"), options, list(sources))
    for c_file, source in sources.items():
        if not is_current(c_file):
            translate(c_file, source, options)
    write_depfile(group, list(sources))


if __name__ == "__main__":
    main(*sys.argv[1:])
