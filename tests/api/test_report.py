"""`bsbpool report`: the figures, the tables, the page and the command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import pytest

from bsbpool import WorkflowError, cli, create_job_pool
from bsbpool.listeners import TraceListener
from bsbpool.reporting import units
from bsbpool.reporting.analysis import analyze, critical_path, ready_times
from bsbpool.reporting.page import report_page
from bsbpool.reporting.text import report_text
from bsbpool.reporting.trace import Trace, TracedJob, TracedPool, TraceError, read_trace

from . import pages
from .support import give


def sleep(owner, seconds, *after):
    time.sleep(seconds)


def fail(owner, text):
    raise ValueError(text)


def job(number, rank, begin, end, after=(), submitted=0.0, reply=0.0, **more):
    known = dict(kind="f", bytes_in=10, bytes_out=20, status="success", label=f"job {number}")
    times = dict(begin=begin, end=end, submitted=submitted, received=end + reply)
    return TracedJob(number=number, rank=rank, after=after, **times, **(known | more))


JOBS = [
    job(0, 1, 1.0, 3.0, reply=0.5),
    job(1, 2, 1.25, 2.0),
    job(2, 2, 2.5, 3.5),
    job(3, 2, 4.0, 7.0, after=(0,)),
    job(4, 1, 7.5, 8.0, after=(3,), kind="g", bytes_out=2048, status="failed"),
]
"""Two ranks in a run from 1 to 10; rank 1 has nothing to do while 3 runs."""


def pool_of(jobs, **more):
    slices = {
        rank: sorted((j.begin, j.end) for j in jobs if j.rank == rank) for rank in (1, 2)
    }
    known = dict(
        name="a pool", jobs=jobs, counts={"success": 4, "failed": 1}, executed=1.0, closed=10.0,
        ranks=[{"rank": 1, "host": "n1"}, {"rank": 2, "host": "n2", "peak_memory": 3 << 20}],
        slices=slices, queue=[(1.0, {"waiting": 5, "running": 0})], memory=[], failures=[],
        parallel=True,
    )  # fmt: skip
    return TracedPool(**(known | more))


class TestFigures:
    def test_when_jobs_were_ready(self):
        assert ready_times(pool_of(JOBS)) == [1.0, 1.0, 1.0, 3.5, 7.0]

    def test_use_of_the_ranks(self):
        first, second = analyze(pool_of(JOBS)).ranks
        assert (first.busy, first.before, first.after) == (2.5, 0.0, 2.0)
        # Job 2 was ready until it began at 2.5, but then rank 1 was busy; job 3 from 3.5 to 4,
        # job 4 from 7 to 7.5. From 3 to 3.5 and from 4 to 7 no job was ready.
        assert (first.dispatch, first.no_job) == (1.0, 3.5)
        assert (second.busy, second.before, second.after) == (4.75, 0.25, 3.0)
        assert (second.dispatch, second.no_job) == (1.0, 0.0)
        for use in (first, second):
            parts = use.busy + use.before + use.after + use.dispatch + use.no_job
            assert parts == pytest.approx(9.0)
        assert (second.host, second.jobs, second.peak_memory) == ("n2", 3, 3 << 20)

    def test_a_rank_without_jobs(self):
        (_first, second) = analyze(pool_of(JOBS[:1])).ranks
        assert (second.jobs, second.busy, second.before) == (0, 0.0, 9.0)

    def test_waiting_by_cause(self):
        causes = {cause.cause: cause for cause in analyze(pool_of(JOBS)).waiting}
        assert causes["the beginning of the run"].total == 5.0
        assert causes["dependencies"].total == 2.5 + 6.0
        assert causes["dependencies"].jobs == 2
        assert causes["dependencies"].longest == 6.0
        assert causes["a worker that runs another job"].total == 1.0  # job 2 for job 1
        assert causes["messages and dispatch"].total == 0.25 + 0.5 + 0.5 + 0.5
        assert causes["the result to arrive"].total == 0.5

    def test_waiting_adds_up(self):
        pool = pool_of(JOBS)
        waited = sum(cause.total for cause in analyze(pool).waiting)
        assert waited == pytest.approx(
            sum(j.begin - j.submitted + j.received - j.end for j in JOBS)
        )

    def test_the_critical_path(self):
        analysis = analyze(pool_of(JOBS))
        assert [j.number for j in analysis.critical_path] == [0, 3, 4]
        assert analysis.critical_seconds == 5.5

    def test_the_critical_path_without_dependencies_is_the_longest_job(self):
        assert [j.number for j in critical_path(JOBS[:3])] == [0]
        assert critical_path([]) == []

    def test_kinds(self):
        first, second = analyze(pool_of(JOBS)).kinds
        assert (first.name, first.jobs, first.total, first.longest) == ("f", 4, 6.75, 3.0)
        assert (first.median, first.bytes_in, first.failed) == (1.5, 40, 0)
        assert (second.name, second.failed, second.bytes_out) == ("g", 1, 2048)

    def test_an_empty_pool(self):
        analysis = analyze(pool_of([]))
        assert (analysis.work, analysis.used_share, analysis.longest) == (0, 0, [])

    @pytest.mark.parametrize(
        ("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
    )
    def test_size(self, value, text):
        assert units.size(value) == text


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The trace of a run of one process with dependencies and a failure."""
    path = tmp_path_factory.mktemp("traces") / "run.trace.json"
    pool = create_job_pool(quiet=True)
    pool.add_listener(TraceListener(path))
    with pytest.raises(WorkflowError), pool:
        first = pool.submit(sleep, 0.1)
        second = pool.submit(sleep, 0.15, first)
        pool.submit(fail, "a <b>bold</b> error & </script>")
        pool.queue_many(give, zip(range(100)))
        pool.submit(sleep, 0.001, second)
        pool.execute()
    return path


def page_of(path):
    trace = read_trace(path)
    return report_page(trace, [analyze(pool) for pool in trace.pools], "A <title>")


class TestTraces:
    def test_what_was_written_is_read(self, path):
        (pool,) = read_trace(path).pools
        assert len(pool.jobs) == 104
        assert pool.counts["success"] == 103
        by_number = {job.number: job for job in pool.jobs}
        assert by_number[1].after == (0,)
        assert 0.15 <= by_number[1].seconds < 5
        assert by_number[0].label == "job 0 'sleep(0.1)'"
        assert by_number[2].status == "failed"
        assert 0.25 <= pool.seconds < 30
        assert pool.executed >= max(job.submitted for job in pool.jobs)

    def test_the_critical_path_of_a_run(self, path):
        (pool,) = read_trace(path).pools
        assert [job.number for job in analyze(pool).critical_path] == [0, 1, 103]

    @pytest.mark.parametrize("text", ["", "[]", '{"traceEvents": []}', '{"traceEvents": ['])
    def test_other_files_are_refused(self, text, tmp_path):
        other = tmp_path / "other.json"
        other.write_text(text)
        with pytest.raises(TraceError, match=re.escape(str(other))):
            read_trace(other)


class TestTables:
    def test_of_a_run(self, path):
        trace = read_trace(path)
        text = report_text(trace, [analyze(pool) for pool in trace.pools])
        lines = text.splitlines()
        assert lines[0] == "pool 1"
        assert "  jobs            103 success, 1 failed" in lines
        assert re.search(r"critical path +\S+ ms in 3 jobs", text)
        assert re.search(r"^    give +100 +0 ", text, re.MULTILINE)
        assert re.search(r"^    sleep +3 +0 ", text, re.MULTILINE)
        assert re.search(r"failed +ValueError: a <b>bold</b> error & </script>", text)

    def test_columns_are_aligned(self):
        text = report_text(Trace(0.0, "1", []), [analyze(pool_of(JOBS))])
        table = text.partition("  Ranks\n")[2].partition("\n\n")[0].splitlines()
        assert table[0].split() == [
            *("rank", "host", "jobs", "used", "before", "no", "job", "dispatch", "after", "memory"),
        ]
        assert table[1].index("n1") == table[2].index("n2") == table[0].index("host")
        assert "27.8 %" in table[1] and "52.8 %" in table[2]


class TestPage:
    def test_it_refers_to_no_other_file(self, path):
        text = page_of(path)
        assert pages.Page(text).addresses == []
        assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest", text)
        assert "default-src 'none'" in text

    def test_tables(self, path):
        tables = pages.Page(page_of(path)).tables
        assert [row[0] for row in tables["ranks"]] == ["0"]
        assert sorted(row[:3] for row in tables["kinds"]) == [
            ["fail", "1", "1"],
            ["give", "100", "0"],
            ["sleep", "3", "0"],
        ]
        assert {row[0] for row in tables["longest"]} >= {
            "job 0 'sleep(0.1)'",
            "job 1 'sleep(0.15, <FunctionJob>)'",
        }
        assert next(row[0] for row in tables["critical"]) == "job 0 'sleep(0.1)'"
        assert tables["failures"][0][2] == "ValueError: a <b>bold</b> error & </script>"
        assert len(tables["waiting"]) == 5

    def test_texts_are_escaped(self, path):
        text = page_of(path)
        assert "<title>A &lt;title&gt;</title>" in text
        assert "<b>bold" not in text

    def test_it_shows_all_slices(self, path, tmp_path):
        page = tmp_path / "report.html"
        page.write_text(page_of(path))
        seen = pages.look_at(page, tmp_path)
        assert seen["slices"] == 104
        if pages.CHROMIUM:
            blue, red = "47,111,177", {"198,40,40", "239,106,106"}
            assert blue in seen["colors"]  # the slices of the first kind
            assert red & seen["colors"]  # the failed job
            assert {"job 0 'sleep(0.1)'", "job 1 'sleep(0.15, <FunctionJob>)'"} <= {*seen["tips"]}

    def test_a_pool_without_jobs(self, tmp_path):
        trace = Trace(0.0, "1", [pool_of([])])
        page = tmp_path / "report.html"
        page.write_text(report_page(trace, [analyze(pool) for pool in trace.pools], "empty"))
        assert pages.look_at(page, tmp_path)["slices"] == 0

    @pytest.mark.timing
    def test_a_hundred_thousand_jobs_are_shown_within_three_seconds(self, tmp_path):
        jobs = []
        for number in range(100_000):
            begin = 1 + number // 64 * 0.001
            after = (number - 64,) if number >= 64 and number % 3 == 0 else ()
            jobs.append(job(number, number % 64, begin, begin + 0.0009, after, 0.5))
        slices = {rank: [(j.begin, j.end) for j in jobs[rank::64]] for rank in range(64)}
        ranks = [{"rank": rank, "host": "n"} for rank in range(64)]
        trace = Trace(0.0, "1", [pool_of(jobs, slices=slices, ranks=ranks)])
        page = tmp_path / "report.html"
        page.write_text(report_page(trace, [analyze(pool) for pool in trace.pools], "large"))
        assert page.stat().st_size < 6 << 20
        seen = pages.look_at(page, tmp_path)
        assert seen["slices"] == 100_000
        assert seen.get("ready", 0) < 3_000


class TestCommand:
    def test_a_page(self, path, tmp_path, capsys):
        output = tmp_path / "report.html"
        assert cli.main(["report", str(path), "-o", str(output), "--title", "My run"]) == 0
        assert capsys.readouterr().out == f"{output}\n"
        assert "<h1>My run</h1>" in output.read_text()

    def test_the_default_name(self, path, tmp_path, capsys):
        trace = tmp_path / "run.trace.json"
        trace.write_bytes(path.read_bytes())
        assert cli.main(["report", str(trace)]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'run.trace.html'}\n"
        assert (tmp_path / "run.trace.html").exists()

    def test_tables(self, path, capsys):
        assert cli.main(["report", "--text", str(path)]) == 0
        assert "Longest jobs" in capsys.readouterr().out

    def test_a_missing_file(self, tmp_path, capsys):
        assert cli.main(["report", str(tmp_path / "none.json")]) == 2
        assert "No such file" in capsys.readouterr().err

    def test_another_file(self, tmp_path, capsys):
        (tmp_path / "other.json").write_text("{}")
        assert cli.main(["report", str(tmp_path / "other.json")]) == 2
        assert "is not a trace" in capsys.readouterr().err

    def test_help_has_examples(self, capsys):
        with pytest.raises(SystemExit) as end:
            cli.main(["report", "--help"])
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert "bsbpool report run.trace.json -o report.html" in out
        assert "exit codes" in out

    def test_a_reader_that_ends_early_is_no_error(self, path):
        command = [sys.executable, "-m", "bsbpool", "report", "--text", str(path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_the_data_of_the_page_are_small(path):
    (timeline,) = pages.Page(page_of(path)).data
    (row,) = timeline["rows"]
    assert len(json.dumps(row)) < 60 * len(row["begin"])
