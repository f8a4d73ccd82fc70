"""Check a release: versions, archives, and installations into bare environments.

    python packaging/release.py build/dist [--allow-unreleased] [--only TEXT] [--python PATH]

It prints a table of checks, each with OK or the fault and the remedy, and fails if there is a
fault. `make release-check` builds the archives before. docs/building.md describes a release.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import archives
import bare
import recipes
from checks import Checks, Fault, joined, run
from wheels import ROOT, interpreter_of, version_of_project

HEADING = re.compile(r"^## (\S+) \((.+)\)$", re.MULTILINE)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
NOT_RELEASED = "not released"


def versions() -> dict[str, str]:
    """Return the version of the project in each file that has it."""
    return {
        "src/bsbpool/__init__.py": _found(r'^__version__ = "(.+)"$', "src/bsbpool/__init__.py"),
        "CITATION.cff": _found(r"^version: (\S+)$", "CITATION.cff"),
        "CHANGELOG.md": _found(r"^## (\S+) ", "CHANGELOG.md"),
    }


def _found(pattern: str, file: str) -> str:
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    return found[1] if found else "missing"


def check_versions() -> None:
    """All files have the version of pyproject.toml."""
    version = version_of_project()
    joined(
        (f"{file} has {found}, pyproject.toml {version}" for file, found in versions().items()
         if found != version),
        "write the version of pyproject.toml into each file",
    )  # fmt: skip


def _first_heading() -> re.Match[str] | None:
    return HEADING.search((ROOT / "CHANGELOG.md").read_text())


def check_changelog(allow_unreleased: bool) -> None:
    """The first part of the changelog has the date of the release."""
    heading = _first_heading()
    if heading is None:
        raise Fault("CHANGELOG.md has no heading '## version (date)'", "write it")
    if heading[2] == NOT_RELEASED and allow_unreleased:
        return
    if not DATE.fullmatch(heading[2]):
        raise Fault(
            f"CHANGELOG.md says that {heading[1]} is {heading[2]!r}",
            f"write the date of the release: ## {heading[1]} (2026-12-31); "
            "until then use --allow-unreleased",
        )


def _git(*arguments: str) -> str:
    return run(["git", "-C", ROOT, *arguments])


def check_tag() -> None:
    """The commit has the tag of the version or none, and no other commit has it."""
    wanted = f"v{version_of_project()}"
    here = _git("tag", "--points-at", "HEAD").split()
    if any(tag != wanted for tag in here):
        raise Fault(f"the commit has the tags {here}; the version needs {wanted}", "move the tag")
    if wanted not in here and wanted in _git("tag", "--list", wanted).split():
        raise Fault(f"{wanted} is the tag of another commit", "raise the version")


def check_clean() -> None:
    """The checkout has no changes, so that the archives are those of the commit."""
    changed = _git("status", "--porcelain").splitlines()
    if changed:
        raise Fault(f"the checkout has changes: {', '.join(changed[:5])}", "commit them")


def check_classifiers(wheels: Sequence[Path]) -> None:
    """There is a wheel for each Python in the classifiers of the project, and no other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        f"cp{match[1]}{match[2]}"
        for line in project["classifiers"]
        if (match := re.fullmatch(r"Programming Language :: Python :: (\d+)\.(\d+)", line))
    }
    built = {wheel.name.split("-")[2] for wheel in wheels}
    joined(
        (f"{'no wheel' if tag in named else 'no classifier'} for {tag}" for tag in named ^ built),
        "install the missing Python (pyenv install) and run make wheels, or change the classifiers",
    )


def check_digests(sdist: Path) -> None:
    """The recipes have the digest of the sdist, once the changelog has a date.

    Before, the digest changes with each commit.
    """
    heading = _first_heading()
    if heading is not None and heading[2] == NOT_RELEASED:
        return
    right = recipes.digest_of(sdist)
    wrong = [file.name for file, found in recipes.digests().items() if found != right]
    if wrong:
        raise Fault(
            f"{', '.join(wrong)} have another digest than {sdist.name}",
            f"python packaging/recipes.py {sdist}, and commit; the sdist does not contain them",
        )


def check_twine(files: Sequence[Path]) -> None:
    """The metadata are valid, and the index can show the description."""
    run([sys.executable, "-m", "twine", "check", "--strict", *files])


def wheel_for(python: str, wheels: Sequence[Path]) -> Path:
    """Return the wheel of a Python."""
    interpreter = interpreter_of(Path(python))
    name = interpreter.name if interpreter else "?"
    found = [wheel for wheel in wheels if f"-{name}-" in wheel.name]
    if not found:
        raise Fault(f"no wheel for {python}", "give another Python with --python")
    return found[0]


def checks_of(
    wheels: list[Path], sdist: Path, python: str, work: Path, allow_unreleased: bool
) -> dict[str, Callable[[], None]]:
    """Return all checks by name, the quick ones first."""
    version = version_of_project()
    checks: dict[str, Callable[[], None]] = {
        "the same version in all files": check_versions,
        "the changelog has the date": partial(check_changelog, allow_unreleased),
        "the tag": check_tag,
        "no changes in the checkout": check_clean,
        "recipes": lambda: joined(recipes.faults()),
        "the digest in the recipes": partial(check_digests, sdist),
        "a wheel for each Python": partial(check_classifiers, wheels),
        "twine check": partial(check_twine, [*wheels, sdist]),
        "contents of the sdist": partial(archives.check_sdist, sdist, version),
    }
    for wheel in wheels:
        tag = wheel.name.split("-")[2]
        checks[f"contents of the wheel for {tag}"] = partial(archives.check_wheel, wheel, version)
    for place in bare.PLACES:
        checks[f"install: {place.name}"] = lambda place=place: bare.check_place(
            place, python, wheel_for(python, wheels), sdist, work
        )
    return checks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; return the exit code."""
    parser = argparse.ArgumentParser(description="Check a release.")
    parser.add_argument("archives", type=Path, help="the folder of `make wheels`")
    parser.add_argument("--allow-unreleased", action="store_true", help="the changelog has no date")
    parser.add_argument("--only", default="", help="run the checks whose names contain this text")
    parser.add_argument("--python", default=sys.executable, help="for the bare environments")
    options = parser.parse_args(arguments)
    folder = options.archives.resolve()
    wheels, sdists = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if not wheels or len(sdists) != 1:
        parser.error(f"{folder} must hold wheels and one sdist; run make wheels")
    work = folder.with_name(f"{folder.name}-bare")
    checks = Checks()
    every = checks_of(wheels, sdists[0], options.python, work, options.allow_unreleased)
    for name, check in every.items():
        if options.only in name:
            checks.run(name, check)
    print(f"\n{checks.table()}")
    return int(checks.failed)


if __name__ == "__main__":
    sys.exit(main())
