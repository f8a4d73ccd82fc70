"""Traces and reports of runs that have not ended: running, or killed with SIGKILL."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from bsbpool import JobStatus, cli, create_job_pool
from bsbpool.exceptions import WorkerLostError
from bsbpool.listeners import TraceListener
from bsbpool.listeners.trace_texts import attempt_members, further_members
from bsbpool.reporting.trace import read_trace
from bsbpool.retries import Attempt
from helpers.launch import mpirun

from . import pages
from .support import give, until
from .trace_rules import problems, slices_of


def wait_for_trace(owner, path):
    """Wait until the trace has this job; return what it says of it."""
    until(lambda: '"unfinished"' in path.read_text(), 60)
    trace = json.loads(path.read_text())
    return problems(trace), slices_of(trace), slices_of(trace, "unfinished"), trace["bsbpool"]


def test_a_trace_has_the_jobs_so_far(tmp_path):
    path = tmp_path / "run.trace.json"
    pool = create_job_pool(quiet=True)
    pool.add_listener(TraceListener(path))
    with pool:
        pool.queue_many(give, zip(range(5)))
        waits = pool.options(name="waits").submit(wait_for_trace, path)
        pool.queue_many(give, zip(range(3)))
        pool.execute()
        found, ended, unfinished, details = waits.result
    assert found == []
    assert [event["args"]["job"] for event in ended] == list(range(5))
    assert [(event["name"], event["args"]["job"]) for event in unfinished] == [("waits", 5)]
    assert details["complete"] is False
    assert details["pools"][0]["jobs"] | {"success": 5, "running": 1, "queued": 3} == (
        details["pools"][0]["jobs"]
    )
    trace = json.loads(path.read_text())
    assert problems(trace) == []
    assert trace["bsbpool"]["complete"] is True
    assert len(slices_of(trace)) == 9 and not slices_of(trace, "unfinished")
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_is_written_at_the_end(tmp_path):
    path, link = tmp_path / "run.trace.json", tmp_path / "link.json"
    link.symlink_to(path)
    pool = create_job_pool(quiet=True)
    listener = TraceListener(link)
    pool.add_listener(listener)
    with pool:
        pool.submit(lambda owner: listener._write_so_far())
        pool.execute()
    assert link.is_symlink()
    assert json.loads(path.read_text())["bsbpool"]["complete"] is True


PROGRAM = """\
import os, pathlib, signal, sys, time
from bsbpool import create_job_pool, services
from bsbpool.listeners import TraceListener

path = pathlib.Path(sys.argv[1])

def quick(owner, n):
    return n

def last(owner, main):
    while '"unfinished"' not in path.read_text():
        time.sleep(0.01)
    os.kill(main, signal.SIGKILL)
    time.sleep(60)

pool = create_job_pool(quiet=True)
pool.add_listener(TraceListener(path))
with pool:
    if pool.is_main():
        jobs = pool.queue_many(quick, zip(range(20)))
        pool.queue(last, (os.getpid(),), deps=list(jobs))
    pool.execute()
"""


@pytest.mark.launches
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_report_of_a_run_that_was_killed(tmp_path, ranks, capsys):
    program, path = tmp_path / "program.py", tmp_path / "run.trace.json"
    program.write_text(PROGRAM)
    assert mpirun(ranks, program, path).returncode != 0
    assert cli.main(["report", "--text", str(path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("The run had not ended when this was written")
    assert "20 success" in text and "1 running" in text
    assert "  Unfinished jobs\n" in text and "job 20 'last(" in text
    assert cli.main(["report", str(path)]) == 0
    page = (tmp_path / "run.trace.html").read_text()
    assert '<p class="note">The run had not ended' in page
    (row,) = pages.Page(page).tables["running"]
    assert row[0].startswith("job 20 'last(") and row[1] == str(ranks - 1)
    assert len(read_trace(path).pools[0].jobs) == 20


def test_the_report_of_a_run_that_was_killed_at_once(tmp_path, capsys):
    path = tmp_path / "run.trace.json"
    pool = create_job_pool(quiet=True)
    pool.add_listener(TraceListener(path))
    with pool:
        pool.submit(lambda owner: cli.main(["report", "--text", str(path)]))
        pool.execute()
    assert capsys.readouterr().out.startswith("No run has been written yet")


def test_attempts_of_lost_ranks_are_counted():
    """They have no slice, since it is not known when they ended."""
    lost, error = WorkerLostError("died"), ValueError("no")
    attempts = [Attempt(1, error), Attempt(2, lost), Attempt(1, error)]
    job = SimpleNamespace(attempts=attempts, label="job 1", status=JobStatus.SUCCESS, error=None)

    def number(members):
        return json.loads("{" + members.decode()[1:] + "}")["attempt"]

    assert [number(attempt_members(job, ended)) for ended in (1, 2)] == [1, 3]
    assert number(further_members(job, 3)) == 4
    assert number(further_members(job, 2)) == 3  # the rank of the last attempt was lost
