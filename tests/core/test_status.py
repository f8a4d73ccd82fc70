"""The table of statuses: its rules, and the places that repeat it.

"Adding a job status" in docs/architecture.md lists these places and others.
"""

import re
from pathlib import Path

from bsbpool import dependency_failures
from bsbpool import status as public
from bsbpool._core.scheduling import status
from bsbpool._core.scheduling.status import Status, terminal, transitions

LEGAL = transitions()
FINISHED = terminal()
GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()


def test_terminal_statuses_have_no_successor():
    assert {Status.SUCCESS, Status.FAILED, Status.CANCELLED, Status.ABORTED} == FINISHED
    assert all((s in FINISHED) == (LEGAL[s] == ()) for s in Status)


def test_statuses_only_go_forward_so_every_job_ends():
    """Except for jobs whose worker failed before they began; the number of workers is finite."""
    back = [(old, new) for old, news in LEGAL.items() for new in news if new <= old]
    assert back == [(Status.RUNNING, Status.QUEUED)]


def test_every_status_is_reached_from_pending():
    reached, new = set(), {Status.PENDING}
    while new:
        reached |= new
        new = {after for old in new for after in LEGAL[old]} - reached
    assert reached == set(Status)


def test_all_unfinished_statuses_can_become_cancelled():
    assert all(Status.CANCELLED in LEGAL[s] for s in Status if s not in FINISHED)


def test_only_a_job_that_ran_succeeds_or_is_aborted():
    for outcome in (Status.SUCCESS, Status.ABORTED):
        assert [old for old in Status if outcome in LEGAL[old]] == [Status.RUNNING]


def test_only_a_queued_job_runs():
    assert [old for old in Status if Status.RUNNING in LEGAL[old]] == [Status.QUEUED]


def test_the_docstring_lists_the_statuses_and_their_containers():
    lines = status.__doc__.splitlines()
    _, top, bottom = (number for number, line in enumerate(lines) if line.startswith("==="))
    column = lines[top].rindex(" ")
    tables = {row.split()[0]: row[column:].strip() for row in lines[top + 1 : bottom]}
    assert list(tables) == [s.name for s in Status]
    assert {name for name, table in tables.items() if table == "none"} == {s.name for s in FINISHED}


def test_the_public_statuses_are_the_same_in_the_same_order():
    assert [s.name for s in public.JOB_STATUSES] == [s.name for s in Status]
    assert {s.name for s in public.FINISHED} == {s.name for s in FINISHED}


def test_unsuccessful_statuses_follow_success():
    """`status_is_unsuccessful` relies on this order."""
    assert [s.name for s in public.UNSUCCESSFUL] == [s.name for s in Status if s > Status.SUCCESS]
    assert all((s in FINISHED) == (s >= Status.SUCCESS) for s in Status)
    assert set(public.ERRONEOUS) <= set(public.UNSUCCESSFUL)


def test_every_unsuccessful_status_has_a_text_for_dependents():
    assert tuple(dependency_failures.VERBS) == public.UNSUCCESSFUL


def test_the_guide_has_the_transitions_of_the_table():
    lines = re.findall(r"^([A-Z]+) +-> (.*)$", GUIDE, re.MULTILINE)
    written = {old: set(re.findall(r"\b[A-Z]+\b", new)) for old, new in lines}
    assert written == {old.name: {s.name for s in new} for old, new in LEGAL.items() if new}


def test_the_guide_explains_every_status():
    explained = re.findall(r"^\| ([A-Z]+) \|", GUIDE, re.MULTILINE)
    assert explained == [s.name for s in Status]
