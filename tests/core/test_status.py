"""The status table: its laws, and all places that repeat it."""

import re
from pathlib import Path

from bsbpool import status as public
from bsbpool._core.scheduling import status
from bsbpool._core.scheduling.status import Status, terminal, transitions

LEGAL = transitions()
FINISHED = terminal()
NAMES = {s.name for s in Status}
ROOT = Path(__file__).parents[2]


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


def test_the_documented_transitions_are_those_of_the_table():
    """Arrows such as ``PENDING --> QUEUED`` are legal, and state diagrams have all of them."""
    table = {(old.name, new.name) for old, news in LEGAL.items() for new in news}
    for path in sorted(ROOT.glob("docs/**/*.md")):
        text = path.read_text()
        arrows = re.findall(r"\b([A-Z]+) *-+>+ *(?=([A-Z]+)\b)", text)
        drawn = {(old, new) for old, new in arrows if {old, new} <= NAMES}
        assert drawn <= table, path.name
        assert drawn == table or "stateDiagram" not in text, path.name
