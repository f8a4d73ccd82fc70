"""The checks of wheels and releases, and the recipes; `make release-check` runs them in full."""

import base64
import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from helpers.sources import REPOSITORY

sys.path.append(str(REPOSITORY / "packaging"))  # the scripts import each other by name

import archives
import checks
import recipes
import release
import wheels

VERSION = wheels.version_of_project()
INFO = f"bsbpool-{VERSION}.dist-info"
TAG = "cp311-cp311-manylinux_2_17_x86_64"
SUFFIX = "cpython-311-x86_64-linux-gnu.so"
METADATA = f"Version: {VERSION}\nRequires-Python: >=3.11\nSummary: jobs\n\nA description\n"


def contents(**more: str) -> dict[str, str]:
    """Return the files of a small wheel without RECORD."""
    return {
        **dict.fromkeys(archives.IN_WHEELS, ""),
        **{f"bsbpool/_core/{name}.{SUFFIX}": "" for name in archives.LIBRARIES},
        f"{INFO}/WHEEL": f"Wheel-Version: 1.0\nTag: {TAG}\n",
        f"{INFO}/METADATA": METADATA,
        **more,
    }


def make_wheel(folder: Path, files: dict[str, str], record: str = "", tag: str = TAG) -> Path:
    """Write a wheel; `record` is added to RECORD."""
    path = folder / f"bsbpool-{VERSION}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{name},sha256={digest.decode().rstrip('=')},{len(text)}\n"
        archive.writestr(f"{INFO}/RECORD", f"{record}{INFO}/RECORD,,\n")
    return path


def fault_of(check, *args) -> str:
    with pytest.raises(checks.Fault) as caught:
        check(*args)
    return caught.value.fault


def test_a_complete_wheel_has_no_fault(tmp_path):
    archives.check_wheel(make_wheel(tmp_path, contents()), VERSION)


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("bsbpool/tests/test_pool.py", "does not belong into a wheel"),
        ("bsbpool/_core/testing/tables.pyi", "does not belong into a wheel"),
        (f"bsbpool/_core/_testing.{SUFFIX}", "does not belong into a wheel"),
        ("bsbpool.libs/libmpi-1a2b.so.12", "does not belong into a wheel"),
        ("bsbpool/_core/engine.pyx", "does not belong into a wheel"),
    ],
)
def test_files_that_do_not_belong_into_a_wheel(tmp_path, file, fault):
    path = make_wheel(tmp_path, contents(**{file: ""}))
    assert fault_of(archives.check_wheel, path, VERSION) == f"{file} {fault}"


@pytest.mark.parametrize("library", archives.LIBRARIES)
def test_a_missing_library(tmp_path, library):
    files = contents()
    del files[f"bsbpool/_core/{library}.{SUFFIX}"]
    fault = fault_of(archives.check_wheel, make_wheel(tmp_path, files), VERSION)
    assert fault == f"the library {library} is missing"


def test_a_record_with_another_digest_or_file(tmp_path):
    path = make_wheel(tmp_path, contents(), record="bsbpool/lost.py,sha256=abc,3\n")
    assert "bsbpool/lost.py is in RECORD only" in fault_of(archives.check_wheel, path, VERSION)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, "changed" if name == "bsbpool/__init__.py" else text)
    fault = fault_of(archives.check_wheel, path, VERSION)
    assert "RECORD has another digest of bsbpool/__init__.py" in fault


@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        ("cp311-cp311-linux_x86_64", "a manylinux tag is needed"),
        ("cp311-cp311-manylinux_2_34_x86_64", "it needs glibc 2.34"),
        ("py3-none-any", "is not that of one CPython"),
        ("cp312-cp312-manylinux_2_17_x86_64", "the tags in WHEEL are"),
    ],
)
def test_wrong_tags(tmp_path, tag, fault):
    path = make_wheel(tmp_path, contents(), tag=tag)
    assert fault in fault_of(archives.check_wheel, path, VERSION)


def test_an_sdist_needs_the_sources_and_no_builds(tmp_path):
    path = tmp_path / f"bsbpool-{VERSION}.tar.gz"

    def write(names):
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                data = METADATA.encode() if name == "PKG-INFO" else b""
                member = tarfile.TarInfo(f"bsbpool-{VERSION}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

    write(archives.IN_SDIST)
    archives.check_sdist(path, VERSION)
    write([*archives.IN_SDIST[1:], "build/x.so"])
    fault = fault_of(archives.check_sdist, path, VERSION)
    assert f"{archives.IN_SDIST[0]} is missing" in fault
    assert "build/x.so does not belong into an sdist" in fault


def test_the_files_that_an_sdist_needs_exist():
    files = [name for name in archives.IN_SDIST if name != "PKG-INFO"]
    assert [name for name in files if not (REPOSITORY / name).exists()] == []


def test_the_recipes_agree_with_the_project():
    assert recipes.faults() == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"cloudpickle>=3"', '"cloudpickle>=4"', "cloudpickle"),
        ('mpi = ["mpi4py>=4"]', 'mpi = ["mpi4py>=5"]', "mpi4py"),
        ('"cython>=3.1,<4"', '"cython>=3.2,<4"', "cython"),
        ('requires-python = ">=3.11"', 'requires-python = ">=3.14"', "python"),
        ('cmake.version = ">=3.21"', 'cmake.version = ">=4.1"', "cmake"),
        ('dependencies = ["cloud', 'dependencies = ["dill", "cloud', "dill is missing"),
    ],
)
def test_a_change_of_the_project_must_reach_the_recipes(tmp_path, monkeypatch, old, new, fault):
    text = (REPOSITORY / "pyproject.toml").read_text()
    assert old in text
    (tmp_path / "pyproject.toml").write_text(text.replace(old, new))
    project = recipes._project
    monkeypatch.setattr(recipes, "_project", lambda: project(tmp_path))
    found = recipes.faults()
    assert {line.partition(":")[0] for line in found if fault in line} >= {"Spack", "conda-forge"}


def test_the_digest_of_the_sdist_is_written_into_all_recipes(tmp_path, monkeypatch):
    sdist = tmp_path / "sdist.tar.gz"
    sdist.write_bytes(b"an sdist")
    copies = []
    for file in recipes.digests():
        copies.append(tmp_path / file.name)
        copies[-1].write_text(file.read_text())
    monkeypatch.setattr(recipes, "recipe_files", lambda: copies)
    recipes.write_digest(sdist)
    assert set(recipes.digests().values()) == {recipes.digest_of(sdist)}
    assert len(copies) == 3


@pytest.mark.parametrize(
    ("heading", "allowed", "fault"),
    [
        ("## 1.0.0 (2026-12-01)", False, ""),
        ("## 1.0.0 (not released)", True, ""),
        ("## 1.0.0 (not released)", False, "CHANGELOG.md says that 1.0.0 is 'not released'"),
        ("## 1.0.0 (soon)", True, "CHANGELOG.md says that 1.0.0 is 'soon'"),
        ("# Changelog", True, "CHANGELOG.md has no heading '## version (date)'"),
    ],
)
def test_the_changelog_needs_a_date(tmp_path, monkeypatch, heading, allowed, fault):
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\nText\n")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    if fault:
        assert fault_of(release.check_changelog, allowed) == fault
    else:
        release.check_changelog(allowed)


def test_the_recipes_need_the_digest_only_for_a_release(tmp_path, monkeypatch):
    sdist = tmp_path / "sdist.tar.gz"
    sdist.write_bytes(b"another sdist")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("## 1.0.0 (not released)\n")
    release.check_digests(sdist)
    (tmp_path / "CHANGELOG.md").write_text("## 1.0.0 (2026-12-01)\n")
    assert "have another digest than sdist.tar.gz" in fault_of(release.check_digests, sdist)


def test_all_files_have_the_same_version(monkeypatch):
    release.check_versions()
    monkeypatch.setattr(release, "version_of_project", lambda: "9.9")
    fault = fault_of(release.check_versions)
    assert fault.count("pyproject.toml 9.9") == len(release.versions())


def test_the_table_has_each_check_its_fault_and_its_remedy():
    def fails():
        raise checks.Fault("no tag", "git tag v1")

    done = checks.Checks()
    assert done.run("versions", lambda: None)
    assert not done.failed
    assert not done.run("tag", fails)
    assert not done.run("file", lambda: Path("/nonexistent").read_text())
    assert done.failed
    table = done.table().splitlines()
    assert table[:3] == ["versions  OK", "tag       FAULT", "file      FAULT"]
    assert "tag: no tag" in table
    assert "  Remedy: git tag v1" in table


def test_this_python_can_build_wheels():
    found = wheels.interpreter_of(Path(sys.executable))
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert wheels.interpreter_of(Path("/nonexistent/python")) is None
