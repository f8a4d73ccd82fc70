"""Check the recipes for Spack, EasyBuild and conda-forge against pyproject.toml.

    python packaging/recipes.py                  print the faults
    python packaging/recipes.py build/dist/bsbpool-0.1.0.tar.gz    write its digest into the recipes
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

HERE = Path(__file__).resolve().parent
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
SPACK = HERE / "spack/package.py"
CONDA = HERE / "conda-forge/recipe.yaml"
IN_BUNDLES = {"cloudpickle": "Python-bundle-PyPI", "numpy": "SciPy-bundle"}
"""The bundles of EasyBuild that have packages."""


def _project(folder: Path = HERE.parent) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def _needed(project: Mapping[str, Any]) -> dict[str, SpecifierSet]:
    """Return what a build with MPI and a run need, by name. pip is part of each build system."""
    of_mpi = project["project"]["optional-dependencies"]["mpi"]
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"], *of_mpi]
    needed = {r.name.lower(): r.specifier for r in map(Requirement, lines) if r.name != "pip"}
    tools = project["tool"]["scikit-build"]["cmake"]["version"]
    return needed | {
        "python": SpecifierSet(project["project"]["requires-python"]),
        "cmake": SpecifierSet(tools),
    }


def _spack_specifier(text: str) -> SpecifierSet:
    """Convert a range of Spack, such as `3.1:3`: from 3.1 up to all of 3."""
    lowest, _, highest = text.partition(":")
    parts = [f">={lowest}"] if lowest else []
    return SpecifierSet(",".join([*parts, f"<{int(highest) + 1}"] if highest else parts))


def spack_requirements(text: str) -> tuple[str, dict[str, SpecifierSet]]:
    """Return the version and the dependencies of a package.py, which is parsed, not run."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    first = [
        (call.func.id, str(call.args[0].value))
        for call in calls
        if isinstance(call.func, ast.Name) and call.args and isinstance(call.args[0], ast.Constant)
    ]
    found = [value.partition("@") for name, value in first if name == "depends_on"]
    versions = [value for name, value in first if name == "version"]
    return versions[0], {
        name.removeprefix("py-"): _spack_specifier(limits) for name, _, limits in found
    }


def conda_requirements(text: str) -> tuple[str, dict[str, SpecifierSet]]:
    """Return the version and the dependencies of a recipe.yaml."""
    recipe = yaml.safe_load(text)
    names = {}
    for part in recipe["requirements"].values():
        for line in _flat(part):
            name, _, limits = line.partition(" ")
            names[name] = SpecifierSet(limits)
    return str(recipe["context"]["version"]), names


def _flat(part: Any) -> Iterator[str]:
    """Yield the lines of a list, also those behind conditions; expressions are left out."""
    if isinstance(part, str):
        if not part.startswith("${{"):
            yield part
    elif isinstance(part, dict):
        yield from _flat(part.get("then", []))
    else:
        for item in part:
            yield from _flat(item)


def easyconfig(text: str) -> dict[str, Any]:
    """Return the variables of an easyconfig that are literals."""
    values = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # a template of EasyBuild, such as SOURCE_TAR_GZ
    return values


def easybuild_versions(text: str) -> tuple[str, dict[str, str]]:
    """Return the version and the versions of the dependencies of an easyconfig."""
    values = easyconfig(text)
    entries = [*values["builddependencies"], *values["dependencies"]]
    return values["version"], {name.lower(): version for name, version in entries}


def _range_faults(
    name: str,
    read: Callable[[str], tuple[str, dict[str, SpecifierSet]]],
    file: Path,
    project: Mapping[str, Any],
) -> Iterator[str]:
    """The faults of a recipe that has ranges of versions: they must be those of the project."""
    version, found = read(file.read_text())
    if version != project["project"]["version"]:
        yield f"{name}: the version is {version}, in pyproject.toml {project['project']['version']}"
    for package, limits in _needed(project).items():
        if package not in found:
            yield f"{name}: {package} is missing"
        elif found[package] != limits:
            yield f"{name}: {package}{found[package]}, in pyproject.toml {package}{limits}"


def _easybuild_faults(file: Path, project: Mapping[str, Any]) -> Iterator[str]:
    """The faults of the easyconfig: it has exact versions, which must be in the ranges."""
    version, found = easybuild_versions(file.read_text())
    wanted = project["project"]["version"]
    if version != wanted or not file.name.startswith(f"bsbpool-{wanted}-"):
        yield f"EasyBuild: {file.name} has version {version}, pyproject.toml {wanted}"
    for package, limits in _needed(project).items():
        name = IN_BUNDLES.get(package, package).lower()
        if name not in found:
            yield f"EasyBuild: {name} is missing"
        elif package not in IN_BUNDLES and not limits.contains(found[name]):
            yield f"EasyBuild: {name} {found[name]}, in pyproject.toml {name}{limits}"


def easyconfigs() -> list[Path]:
    """Return the easyconfigs."""
    return sorted(HERE.glob("easybuild/*.eb"))


def faults() -> list[str]:
    """Return the faults of all recipes."""
    project = _project()
    found = [
        *_range_faults("Spack", spack_requirements, SPACK, project),
        *_range_faults("conda-forge", conda_requirements, CONDA, project),
    ]
    for file in easyconfigs():
        found += _easybuild_faults(file, project)
    return found


def recipe_files() -> list[Path]:
    """Return all recipes."""
    return [SPACK, CONDA, *easyconfigs()]


def digests() -> dict[Path, str]:
    """Return the digest of the sdist in each recipe."""
    return {
        file: (DIGEST.search(file.read_text()) or [""])[0] for file in recipe_files()
    }


def digest_of(sdist: Path) -> str:
    """Return the digest of an sdist."""
    return hashlib.sha256(sdist.read_bytes()).hexdigest()


def write_digest(sdist: Path) -> None:
    """Write the digest of an sdist into all recipes."""
    for file in recipe_files():
        file.write_text(DIGEST.sub(digest_of(sdist), file.read_text()))


if __name__ == "__main__":
    if sys.argv[1:]:
        write_digest(Path(sys.argv[1]))
    else:
        print(*faults(), sep="\n")
