"""What pools log, where the records come from, and BSBPOOL_LOG."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from bsbpool import WorkflowError, create_job_pool, logs
from helpers.launch import mpirun

from .on_ranks import on_ranks
from .support import Node, fail, give

LINE = r"\d\d:\d\d:\d\d\.\d{3} rank {rank} on \S+ {level} bsbpool\.{subject}: "


def texts(caplog, subject, level):
    """Return the messages of a logger that were logged at a level."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == f"bsbpool.{subject}" and record.levelno == level
    ]


def test_a_run_of_one_process_logs_its_jobs(caplog):
    with caplog.at_level(logging.DEBUG, "bsbpool"), create_job_pool(quiet=True) as pool:
        pool.queue(give, (7,), submitter=Node("cortex"))
        pool.submit(fail, "no")
        with pytest.raises(WorkflowError):
            pool.execute()
    good, bad = "job 0 'give(7)' of node 'cortex'", "job 1 'fail('no')'"
    debug = texts(caplog, "jobs", logging.DEBUG)
    assert [text for text in debug if "running" in text] == [f"running {good}", f"running {bad}"]
    assert [text.partition(" ended after ")[0] for text in debug[1::2]] == [good, bad]
    assert texts(caplog, "jobs", logging.INFO) == [f"{bad} failed: ValueError: no"]
    began, ended = texts(caplog, "runs", logging.INFO)
    assert "the run begins, with 2 jobs so far, on 1 ranks" in began
    assert ended.endswith("with WorkflowError; 2 jobs: 1 success, 1 failed")
    for record in caplog.records:
        assert (record.rank, record.host) == (0, os.uname().nodename)


def test_results_do_not_depend_on_logging(caplog):
    """With DEBUG each job is called by other code than without."""
    results = []
    for level in (logging.WARNING, logging.DEBUG):
        with caplog.at_level(level, "bsbpool"), create_job_pool(quiet=True) as pool:
            first = pool.submit(give, 1)
            jobs = [pool.submit(give, first), pool.options(retries=1).submit(give, 2)]
            pool.execute()
            results.append([job.result for job in (first, *jobs)])
    assert results == [[1, 1, 2]] * 2


def test_a_level_of_one_subject(caplog):
    with caplog.at_level(logging.INFO, "bsbpool.runs"), create_job_pool(quiet=True) as pool:
        pool.submit(give, 1)
        pool.execute()
    assert {record.name for record in caplog.records} == {"bsbpool.runs"}
    assert logs.debug_logger("jobs") is None


@on_ranks(3)
def test_records_have_the_rank_that_logs():
    records = []

    class Keep(logging.Handler):
        def emit(self, record):
            records.append((record.rank, record.name, record.getMessage()))

    logging.getLogger("bsbpool").setLevel(logging.DEBUG)
    logging.getLogger("bsbpool").addHandler(Keep())
    with create_job_pool(quiet=True) as pool:
        if pool.is_main():
            for n in range(4):
                pool.queue(give, (n,), submitter=Node("cortex"))
        pool.execute()
        rank = 0 if pool.is_main() else pool.run_context.comm.get_rank()
    assert {place for place, *_ in records} == {rank}
    jobs = [text for _, name, text in records if name == "bsbpool.jobs"]
    if rank == 0:
        for n in range(4):
            label = f"job {n} 'give({n})' of node 'cortex'"
            sent = [text for text in jobs if text.startswith(f"sending {label} to rank ")]
            ended = [text for text in jobs if text.startswith(f"{label} ended after ")]
            assert (len(sent), len(ended)) == (1, 1), jobs
    else:
        began = [text for text in jobs if text.startswith("running job ")]
        ended = [text for text in jobs if "has succeeded after" in text]
        assert len(began) == len(ended)
        assert all("'give'" in text for text in jobs)
    assert [text for *_, text in records if "the run begins" in text]


PROGRAM = """
import bsbpool

def area(owner, a, b):
    return a * b

{before}
with bsbpool.create_job_pool(quiet=True) as pool:
    if pool.is_main():
        pool.submit(area, 2, 3)
    pool.execute()
"""


def run(ranks, before="", **env):
    done = mpirun(ranks, "-c", PROGRAM.format(before=before), env=env)
    return done.returncode, done.stdout


@pytest.mark.launches
def test_the_setting_shows_the_protocol_on_several_ranks():
    code, text = run(3, BSBPOOL_LOG="debug")
    assert code == 0, text
    for rank in range(3):
        assert f"rank {rank} on {os.uname().nodename} INFO bsbpool.runs: pool" in text
    assert "DEBUG bsbpool.jobs: sending job 0 'area(2, 3)' to rank 1" in text
    assert "DEBUG bsbpool.jobs: running job 0 'area'" in text
    assert "DEBUG bsbpool.jobs: job 0 'area(2, 3)' ended after" in text


@pytest.mark.parametrize("level", ["INFO", "warning", ""])
def test_the_setting_has_a_level(level):
    code, text = run(1, BSBPOOL_LOG=level)
    assert code == 0, text
    assert ("bsbpool.runs: pool" in text) == (level == "INFO")
    assert "bsbpool.jobs" not in text


def test_a_wrong_level_is_refused():
    code, text = run(1, BSBPOOL_LOG="loud")
    assert code == 1
    assert "BSBPOOL_LOG is 'loud'; set it to one of debug, info, warning, error" in text


def test_handlers_of_the_program_take_the_place_of_the_setting():
    before = "import logging; logging.basicConfig(format='mine: %(message)s')"
    code, text = run(1, before, BSBPOOL_LOG="debug")
    assert code == 0, text
    assert "mine: running job 0 'area(2, 3)'" in text
    assert "rank 0 on" not in text


def test_a_plain_pool_does_not_import_logging():
    program = PROGRAM.format(before="import sys") + "\nprint('logging' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
