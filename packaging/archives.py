"""Check the names, tags, records and contents of wheels and of the sdist."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path, PurePosixPath

from packaging.utils import parse_wheel_filename

from checks import joined

NEWEST_MANYLINUX = {"x86_64": (2, 17)}
"""The newest glibc that wheels of an architecture may need; others are not limited."""

IN_WHEELS = ("bsbpool/__init__.py", "bsbpool/py.typed", "bsbpool/_core/__init__.py")
LIBRARIES = ("_modules", "mpi_mpich", "mpi_openmpi")
"""The compiled libraries of a wheel."""

IN_SDIST = (
    "CHANGELOG.md", "CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md", "cmake/cythonize.py",
    "cmake/generated.cmake", "pyproject.toml", "src/_core/scheduling/engine.pyx",
    "src/bsbpool/__init__.py",
)  # fmt: skip

MADE_FOR_SDIST = ("_shared.c", "mpi_mpich.c", "mpi_native.c", "mpi_openmpi.c", "sources")
"""Files in the folder generated of the sdist, besides a C file of each module."""

NOT_IN_WHEELS = re.compile(
    r"(^|/)(tests?|testing|benches|__pycache__)/|\.(pyx|pxd|c|h|o)$|(^|/)(libmpi|_testing\.|conftest)"
)
SOURCE_OF_MODULE = re.compile(r"src/_core/(?!testing/|comm/mpi/)(.+)\.pyx")
ABSOLUTE_SOURCE = re.compile(rb"(?<![\w./-])/[\w./-]+\.p(?:yx|xd)\b")
"""The path of a source on the machine that made a C file."""
NOT_IN_SDIST = re.compile(r"(^|/)(build|\.envs|\.git|__pycache__|wheelhouse)/|\.(so|o|pyc|whl)$")


def check_wheel(path: Path, version: str) -> None:
    """Check a wheel; raise a `Fault` with all its faults."""
    with zipfile.ZipFile(path) as archive:
        joined(_wheel_faults(path.name, archive, version))


def check_sdist(path: Path, version: str) -> None:
    """Check the sdist; raise a `Fault` with all its faults."""
    top = f"bsbpool-{version}"
    with tarfile.open(path) as archive:
        names = [PurePosixPath(name) for name in archive.getnames()]
        inside = {"/".join(name.parts[1:]) for name in names}
        metadata = _text_of(archive, f"{top}/PKG-INFO")
        faults = list(_generated_faults(archive, inside))
    tops = {name.parts[0] for name in names}
    joined([*_sdist_faults(path.name, tops, inside, metadata, version), *faults])


def _sdist_faults(
    name: str, tops: set[str], inside: set[str], metadata: str, version: str
) -> Iterator[str]:
    if name != f"bsbpool-{version}.tar.gz":
        yield f"the name is {name}; bsbpool-{version}.tar.gz is needed"
    if tops != {f"bsbpool-{version}"}:
        yield f"the files are in {sorted(tops)}; one folder bsbpool-{version} is needed"
    yield from (f"{file} is missing" for file in IN_SDIST if file not in inside)
    yield from (f"{file} does not belong into an sdist" for file in _matches(NOT_IN_SDIST, inside))
    yield from _metadata_faults(metadata, version)


def _generated_faults(archive: tarfile.TarFile, inside: set[str]) -> Iterator[str]:
    """The C files: one of each module, all of the same Cython, without paths of this machine."""
    modules = [match[1] for match in map(SOURCE_OF_MODULE.fullmatch, inside) if match]
    needed = {*MADE_FOR_SDIST, *(f"{module.replace('/', '.')}.c" for module in modules)}
    for file in sorted(needed):
        if f"generated/{file}" not in inside:
            yield f"generated/{file} is missing"
    makers = set()
    for member in archive:
        if member.isfile() and re.search(r"/generated/[^/]+\.c$", member.name):
            text = _bytes_of(archive, member)
            makers.add(text.partition(b"\n")[0])
            if path := ABSOLUTE_SOURCE.search(text):
                yield f"{member.name} contains the path {path[0].decode()}"
    if len(makers) > 1:
        yield f"the C files were made by different versions of Cython: {sorted(makers)}"


def _wheel_faults(name: str, archive: zipfile.ZipFile, version: str) -> Iterator[str]:
    inside = set(archive.namelist())
    info = f"bsbpool-{version}.dist-info"
    yield from _name_faults(name, version)
    if f"{info}/RECORD" not in inside:
        yield f"{info}/RECORD is missing"
        return
    yield from _tag_faults(name, archive.read(f"{info}/WHEEL").decode())
    yield from _record_faults(archive, f"{info}/RECORD")
    yield from (f"{file} is missing" for file in IN_WHEELS if file not in inside)
    for library in LIBRARIES:
        found = [file for file in inside if file.startswith(f"bsbpool/_core/{library}.")]
        if not any(file.endswith(".so") for file in found):
            yield f"the library {library} is missing"
    yield from (f"{file} does not belong into a wheel" for file in _matches(NOT_IN_WHEELS, inside))
    yield from _metadata_faults(archive.read(f"{info}/METADATA").decode(), version)


def _name_faults(name: str, version: str) -> Iterator[str]:
    """The version and the tags in the name of the file."""
    project, found, _, tags = parse_wheel_filename(name)
    if (project, str(found)) != ("bsbpool", version):
        yield f"the wheel is of {project} {found}; bsbpool {version} is needed"
    for tag in tags:
        if tag.interpreter != tag.abi or not re.fullmatch(r"cp3\d+", tag.interpreter):
            yield f"the tag {tag} is not that of one CPython"
    platforms = {tag.platform for tag in tags}
    yield from _platform_faults(platforms)


def _platform_faults(platforms: set[str]) -> Iterator[str]:
    """The tags of manylinux: a wheel must not need a newer glibc than it has to."""
    found = [re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", platform) for platform in platforms]
    modern = [match for match in found if match]
    if not modern:
        yield f"the platforms are {sorted(platforms)}; a manylinux tag is needed"
    for match in modern:
        glibc = int(match[1]), int(match[2])
        newest = NEWEST_MANYLINUX.get(match[3])
        if newest is not None and glibc > newest:
            yield f"it needs glibc {glibc[0]}.{glibc[1]}; add its new symbols to packaging/glibc.h"


def _tag_faults(name: str, text: str) -> Iterator[str]:
    """The file WHEEL has the tags of the name."""
    in_file = set(Parser().parsestr(text).get_all("Tag") or ())
    in_name = {str(tag) for tag in parse_wheel_filename(name)[3]}
    if in_file != in_name:
        yield f"the tags in WHEEL are {sorted(in_file)}, those in the name {sorted(in_name)}"


def _record_faults(archive: zipfile.ZipFile, record: str) -> Iterator[str]:
    """RECORD has the digest of each file, and no other files."""
    rows = list(csv.reader(io.StringIO(archive.read(record).decode())))
    listed = {row[0]: row[1] for row in rows}
    files = {name for name in archive.namelist() if not name.endswith("/")}
    for name in sorted(files ^ set(listed)):
        yield f"{name} is in {'RECORD' if name in listed else 'the wheel'} only"
    for name in sorted(files & set(listed) - {record}):
        digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest())
        if listed[name] != f"sha256={digest.decode().rstrip('=')}":
            yield f"RECORD has another digest of {name}"


def _metadata_faults(text: str, version: str) -> Iterator[str]:
    metadata = Parser().parsestr(text)
    if metadata["Version"] != version:
        yield f"the metadata has version {metadata['Version']}; {version} is needed"
    for key in ("Requires-Python", "Summary"):
        if not metadata[key]:
            yield f"the metadata has no {key}"
    if not metadata.get_payload():
        yield "the metadata has no description"


def _matches(pattern: re.Pattern[str], names: set[str]) -> list[str]:
    return sorted(name for name in names if pattern.search(name))


def _text_of(archive: tarfile.TarFile, name: str) -> str:
    try:
        return _bytes_of(archive, archive.getmember(name)).decode()
    except KeyError:
        return ""


def _bytes_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""
