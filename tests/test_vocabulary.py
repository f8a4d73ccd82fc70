"""Words that the project no longer uses, and the standard terms that replace them."""

import re

import pytest

from helpers.sources import REPOSITORY

REPLACED = {
    "bells": "wakeup",
    "rung": "notified",
    "bedtime": "backoff",
    "epoch": "run_id",
    "crew": "backend",
    "hub": "dispatcher thread",
    "farewell": "shutdown handshake",
    "mourn": "mark_failed",
    "bereave": "discard_pending",
    "bury": "discard_pending",
    "buried": "failed",
    "baton": "deterministic_scheduler",
    "letter": "message",
    "roster": "membership",
    "neighbour": "process_monitor",
    "intake": "submission",
    "room": "module, space",
    "door": "adapter, integration",
    "manners": "API, semantics",
    "errand": "deferred call",
    "bulletin": "event queue",
    "logbook": "change log",
    "surroundings": "job_contexts",
    "lender": "SharedExecutor",
    "loan": "lease",
    "knot": "reference cycle",
    "heed": "handle",
    "doomed": "failing",
    "whoever": "the rank, the caller",
}
"""The words, and what to write instead."""

OF_OTHERS = {"hub": "ipyparallel"}
"""Words of the interfaces of other packages, and the name of the files that can use them."""

UPPER_CASE = {"RECALL": "STEAL_REQUEST", "RETURNED": "STEAL_RESPONSE"}

PARTS = {
    "src": ("src", "cmake"),
    "docs": ("docs",),
    "tests": ("tests", "benches", "examples"),
    "project": (".",),
}
SUFFIXES = {".py", ".pyx", ".pxd", ".pyi", ".md", ".toml", ".txt", ".cmake", ".c", ".sh", ""}


def files_of(folder):
    pattern = "*" if folder == "." else "**/*"
    for path in sorted((REPOSITORY / folder).glob(pattern)):
        if path.is_file() and path.suffix in SUFFIXES and not path.name.startswith("."):
            yield path


def words_of(line):
    """Split a line into words, and names into their parts: `lie_down`, `MainLoop`, `N_JOBS`."""
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", line)


def replacement(word):
    small = word.lower()
    return UPPER_CASE.get(word) or REPLACED.get(small) or REPLACED.get(small.removesuffix("s"))


def is_of_others(word, place):
    package = OF_OTHERS.get(word.lower())
    return package is not None and package in place


def findings(folders):
    for folder in folders:
        for path in files_of(folder):
            if path.name == "test_vocabulary.py":
                continue
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                for word in words_of(line):
                    place = path.relative_to(REPOSITORY)
                    other = replacement(word)
                    if other and not is_of_others(word, str(place)):
                        yield f"{place}:{number}: '{word}': write '{other}'"


@pytest.mark.parametrize("part", PARTS)
def test_only_standard_terms(part):
    assert list(findings(PARTS[part])) == []
