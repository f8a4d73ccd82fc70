"""Traces of runs: valid by the rules of the format, true, complete after errors, and cheap."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from array import array

import pytest

from bsbpool import JobStatus, WorkflowError, create_job_pool, current_job, services
from bsbpool.exceptions import JobPoolTimeoutError
from bsbpool.listeners import TraceListener
from bsbpool.listeners.memory_samples import MOST_SAMPLES, MemorySamples

from .on_ranks import on_ranks
from .support import RecordingListener, cpu_seconds, fail, give, nothing
from .trace_rules import problems, slices_of


def sleep(owner, seconds, *after):
    time.sleep(seconds)


def flaky(owner, folder):
    """Fail once."""
    mark = folder / "failed"
    if not mark.exists():
        mark.touch()
        raise ValueError("once")


def read(path):
    trace = json.loads(path.read_text())
    assert problems(trace) == []
    return trace


def traced(path, fill, **options):
    """Run a pool that `fill` fills; return its trace."""
    pool = create_job_pool(quiet=True)
    pool.add_listener(TraceListener(path, **options))
    with pool:
        fill(pool)
        pool.execute()
    return read(path)


def args_of(trace):
    """Return the arguments of the slices by job."""
    return {event["args"]["job"]: event["args"] for event in slices_of(trace)}


def queue_graph(pool):
    first = pool.submit(sleep, 0.01)
    middle = [pool.submit(sleep, 0.002, first) for _ in range(5)]
    pool.submit(sleep, 0.001, *middle)


class TestOneProcess:
    def test_slices_are_when_jobs_ran(self, tmp_path):
        before = time.time()
        trace = traced(tmp_path / "t.json", queue_graph)
        slices = slices_of(trace)
        assert [event["args"]["job"] for event in slices] == list(range(7))
        assert {event["tid"] for event in slices} == {0}
        assert slices[0]["dur"] >= 10_000
        assert all(event["dur"] >= 1_000 for event in slices)
        assert all(event["name"] == "sleep" for event in slices)
        assert before - 0.01 <= trace["bsbpool"]["began"] <= time.time()
        assert all(event["ts"] < (time.time() - before) * 1e6 + 1e4 for event in slices)

    def test_arrows_are_the_dependencies(self, tmp_path):
        trace = traced(tmp_path / "t.json", queue_graph)
        flows = [event for event in trace["traceEvents"] if event["ph"] == "s"]
        assert len(flows) == 10
        assert args_of(trace)[6]["after"] == [1, 2, 3, 4, 5]
        assert "after" not in args_of(trace)[0]

    def test_counters(self, tmp_path):
        trace = traced(tmp_path / "t.json", queue_graph)
        counters = [event for event in trace["traceEvents"] if event["ph"] == "C"]
        jobs = [event["args"] for event in counters if event["name"] == "jobs"]
        assert max(args["waiting"] for args in jobs) >= 6
        assert {args["running"] for args in jobs} == {0, 1}
        assert jobs[-1] == {"waiting": 0, "running": 0}
        memory = [event["args"] for event in counters if event["name"] == "memory in MiB"]
        assert len(memory) >= 2
        assert all(args["main rank"] > 5 for args in memory)

    def test_phases(self, tmp_path):
        phases = slices_of(traced(tmp_path / "t.json", queue_graph), "pool")
        assert [event["name"] for event in phases] == ["queue jobs", "execute", "close"]
        assert phases[1]["dur"] >= 20_000

    def test_names_are_escaped(self, tmp_path):
        name = 'a "name" of 100 % \\ </script> \u00fc'
        trace = traced(
            tmp_path / "t.json", lambda pool: pool.options(name=name).submit(nothing)
        )
        assert [event["name"] for event in slices_of(trace)] == [name]

    def test_long_names_and_many_dependencies(self, tmp_path):
        name = "long " * 20_000

        def fill(pool):
            jobs = pool.queue_many(give, zip(range(3_000)))
            pool.options(name=name, retries=1).queue(nothing, deps=jobs)
            pool.queue_many(give, zip(range(10)), deps=jobs[:100])

        args = args_of(traced(tmp_path / "t.json", fill))
        assert args[3_000]["after"] == list(range(3_000))
        assert all(args[number]["after"] == list(range(100)) for number in range(3_001, 3_011))

    def test_kinds_of_jobs_keep_their_names(self, tmp_path):
        def fill(pool):
            for _ in range(3):
                pool.submit(nothing)
                pool.submit(give, 1)
                pool.queue(nothing, submitter="a node")

        names = [event["name"] for event in slices_of(traced(tmp_path / "t.json", fill))]
        assert names == ["nothing", "give", "a node"] * 3

    def test_labels_of_all_jobs(self, tmp_path):
        trace = traced(tmp_path / "t.json", lambda pool: pool.submit(give, 7), labels=True)
        assert args_of(trace)[0]["label"] == "job 0 'give(7)'"

    def test_the_number_of_arrows_is_limited(self, tmp_path):
        trace = traced(tmp_path / "t.json", queue_graph, max_arrows=4)
        assert sum(event["ph"] == "s" for event in trace["traceEvents"]) == 4
        assert trace["bsbpool"]["pools"][0]["arrows_left_out"] == 6
        assert args_of(trace)[6]["after"] == [1, 2, 3, 4, 5]

    def test_retries(self, tmp_path):
        trace = traced(
            tmp_path / "t.json",
            lambda pool: pool.options(retries=2).submit(flaky, tmp_path),
        )
        (first,), (second,) = slices_of(trace, "attempt"), slices_of(trace)
        assert (second["args"]["attempts"], second["args"]["attempt"]) == (2, 2)
        assert "status" not in second["args"]
        assert (first["args"]["job"], first["args"]["attempt"]) == (0, 1)
        assert (first["args"]["status"], first["args"]["error"]) == ("failed", "ValueError: once")
        assert first["name"] == second["name"] == "flaky"
        assert first["ts"] + first["dur"] <= second["ts"]

    def test_retries_that_all_fail(self, tmp_path):
        def fill(pool):
            pool.queue_many(give, zip(range(10)))
            pool.options(retries=2).submit(fail)
            pool.queue_many(give, zip(range(10)))

        pool = create_job_pool(quiet=True)
        pool.add_listener(TraceListener(tmp_path / "t.json"))
        with pytest.raises(WorkflowError), pool:
            fill(pool)
            pool.execute()
        trace = read(tmp_path / "t.json")
        assert [event["args"]["attempt"] for event in slices_of(trace, "attempt")] == [1, 2]
        assert args_of(trace)[10]["attempt"] == 3
        assert len(slices_of(trace)) == 21
        counts = [event["args"] for event in trace["traceEvents"] if event["ph"] == "C"]
        jobs = [args for args in counts if "running" in args]
        assert {args["running"] for args in jobs} == {0, 1}
        assert min(args["waiting"] for args in jobs) == 0 == jobs[-1]["waiting"]

    def test_two_pools_in_one_file(self, tmp_path):
        listener = TraceListener(tmp_path / "t.json")
        for n in (3, 4):
            pool = create_job_pool(quiet=True)
            pool.add_listener(listener)
            with pool:
                pool.queue_many(give, zip(range(n)))
                pool.execute()
            trace = read(tmp_path / "t.json")
        assert [event["pid"] for event in slices_of(trace)] == [1] * 3 + [2] * 4
        assert [pool["jobs"]["success"] for pool in trace["bsbpool"]["pools"]] == [3, 4]

    def test_added_inside_of_the_block(self, tmp_path):
        with create_job_pool(quiet=True) as pool:
            pool.add_listener(TraceListener(tmp_path / "t.json"))
            pool.submit(nothing)
            pool.execute()
            assert len(slices_of(read(tmp_path / "t.json"))) == 1

    def test_an_empty_pool(self, tmp_path):
        assert slices_of(traced(tmp_path / "t.json", lambda pool: None)) == []

    def test_a_file_that_cannot_be_written_is_an_error_before_the_run(self, tmp_path):
        pool = create_job_pool(quiet=True)
        pool.add_listener(TraceListener(tmp_path / "missing" / "t.json"))
        with pytest.raises(FileNotFoundError), pool:
            pytest.fail("the block began")


class TestRunsThatFail:
    def test_failures_are_in_the_trace(self, tmp_path):
        def fill(pool):
            bad = pool.submit(fail, "wrong <value>")
            pool.submit(nothing, deps=[bad])
            pool.submit(nothing)

        with pytest.raises(WorkflowError):
            traced(tmp_path / "t.json", fill)
        trace = read(tmp_path / "t.json")
        assert sorted(args_of(trace)) == [0, 2]
        assert args_of(trace)[0]["status"] == "failed"
        assert args_of(trace)[0]["error"] == "ValueError: wrong <value>"
        summary = trace["bsbpool"]["pools"][0]
        assert [summary["jobs"][name] for name in ("success", "failed", "cancelled")] == [1, 1, 1]
        assert summary["failures"] == [
            {
                "job": 0,
                "label": args_of(trace)[0]["label"],
                "status": "failed",
                "error": "ValueError: wrong <value>",
            }
        ]

    def test_interrupted(self, tmp_path):
        def interrupted(owner):
            raise KeyboardInterrupt

        def fill(pool):
            pool.submit(nothing)
            pool.submit(interrupted)
            pool.submit(nothing)

        with pytest.raises(KeyboardInterrupt):
            traced(tmp_path / "t.json", fill)
        trace = read(tmp_path / "t.json")
        assert 0 in args_of(trace) and 2 not in args_of(trace)
        assert trace["bsbpool"]["pools"][0]["jobs"]["aborted"] == 1

    def test_timeout(self, tmp_path):
        pool = create_job_pool(quiet=True)
        pool.add_listener(TraceListener(tmp_path / "t.json"))
        with pytest.raises(JobPoolTimeoutError), pool:
            pool.submit(nothing)
            pool.submit(sleep, 30)
            pool.execute(timeout=0.2)
        assert 0 in args_of(read(tmp_path / "t.json"))

    def test_an_error_before_the_run(self, tmp_path):
        pool = create_job_pool(quiet=True)
        pool.add_listener(TraceListener(tmp_path / "t.json"))
        with pytest.raises(ZeroDivisionError), pool:
            pool.submit(nothing)
            raise ZeroDivisionError
        assert slices_of(read(tmp_path / "t.json")) == []


INTERRUPTED = """
import os, signal, sys
from bsbpool import create_job_pool
from bsbpool.listeners import TraceListener

def end(owner):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    signal.pause()

pool = create_job_pool(quiet=True)
pool.add_listener(TraceListener("t.json"))
with pool:
    pool.submit(len, deps=[pool.submit(lambda owner: 1)])
    pool.submit(end)
    pool.execute()
"""


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
def test_a_process_that_is_interrupted_writes_its_trace(signal, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, signal],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    trace = read(tmp_path / "t.json")
    assert 0 in args_of(trace)
    assert trace["bsbpool"]["pools"][0]["jobs"]["aborted"] == 1, done.stderr


def fails_twice(owner):
    attempt = current_job().attempt
    time.sleep(0.002)
    if attempt < 3:
        raise ValueError(attempt)


@on_ranks(3)
def test_attempts_on_ranks():
    import pathlib
    import tempfile

    path = pathlib.Path(tempfile.gettempdir()) / f"trace-{services.MPI.bcast(time.time_ns())}.json"
    pool = create_job_pool(quiet=True)
    pool.add_listener(TraceListener(path))
    with pool:
        if pool.is_main():
            pool.queue_many(give, zip(range(50)))
            for _ in range(5):
                pool.options(retries=2, retry_elsewhere=True).submit(fails_twice)
        pool.execute()
    if services.MPI.get_rank():
        return
    trace = read(path)
    path.unlink()
    attempts = slices_of(trace, "attempt")
    assert len(attempts) == 10 and len(slices_of(trace)) == 55
    for job in range(50, 55):
        of_job = sorted(
            (e["args"]["attempt"], e["ts"], e["tid"], e["args"].get("error"))
            for e in (*attempts, *slices_of(trace))
            if e["args"]["job"] == job
        )
        assert [attempt for attempt, *_ in of_job] == [1, 2, 3]
        assert [error for *_, error in of_job] == ["ValueError: 1", "ValueError: 2", None]
        assert [begin for _, begin, *_ in of_job] == sorted(begin for _, begin, *_ in of_job)
        ranks = [rank for _, _, rank, _ in of_job]
        assert set(ranks) == {1, 2} and ranks[0] != ranks[1]


@on_ranks(3)
def test_on_three_ranks_after_a_timeout():
    import pathlib
    import tempfile

    path = pathlib.Path(tempfile.gettempdir()) / f"trace-{services.MPI.bcast(time.time_ns())}.json"
    pool = create_job_pool(quiet=True)
    pool.add_listener(TraceListener(path))
    try:
        with pool:
            if pool.is_main():
                pool.queue_many(give, zip(range(50)))
                pool.queue_many(sleep, [(30,)] * 3)
            pool.execute(timeout=0.5)
    except WorkflowError:
        assert services.MPI.get_rank()
    except JobPoolTimeoutError:
        trace = read(path)
        path.unlink()
        assert len(slices_of(trace)) >= 50
        jobs = trace["bsbpool"]["pools"][0]["jobs"]
        assert jobs["success"] == 50 and jobs["aborted"] + jobs["cancelled"] == 3
    else:
        pytest.fail("no error")


def member(owner):
    time.sleep(0.01)


@on_ranks(3)
def test_on_three_ranks():
    import pathlib
    import tempfile

    path = pathlib.Path(tempfile.gettempdir()) / f"trace-{services.MPI.bcast(time.time_ns())}.json"
    pool = create_job_pool(quiet=True)
    pool.add_listener(TraceListener(path))
    with pool:
        if pool.is_main():
            queue_graph(pool)
            many = pool.queue_many(give, zip(range(500)))
            pool.options(ranks=2).submit(member)
            bad = pool.submit(fail)
            pool.add_listener(lambda record: True)
        pool.execute()
        if pool.is_main():
            data = {job.number: job.metadata for job in (*many, bad)}
    if not services.MPI.get_rank():
        trace = read(path)
        path.unlink()
        slices = {event["args"]["job"]: event for event in slices_of(trace)}
        assert len(slices) == 509
        # Both measure the difference of the clocks, and another process may interrupt that.
        origin = data[7].started - slices[7]["ts"] * 1e-6
        assert origin == pytest.approx(trace["bsbpool"]["began"], abs=0.5)
        for number, known in data.items():
            assert slices[number]["tid"] == known.rank
            assert origin + slices[number]["ts"] * 1e-6 == pytest.approx(known.started, abs=1e-5)
            assert slices[number]["dur"] == pytest.approx(known.run_time * 1e6, abs=1)
            assert slices[number]["args"]["in"] == known.bytes_in > 0
        assert len(slices_of(trace, "member")) == 1
        assert slices_of(trace, "member")[0]["tid"] != slices[507]["tid"]
        assert sum(event["ph"] == "s" for event in trace["traceEvents"]) == 10
        ranks = trace["bsbpool"]["pools"][0]["ranks"]
        assert [rank["rank"] for rank in ranks] == [1, 2]
        assert all(rank["peak_memory"] > 10 << 20 for rank in ranks)
        threads = [e for e in trace["traceEvents"] if e["name"] == "thread_name"]
        assert [event["args"]["name"].split(" on ")[0] for event in threads][:2] == [
            "rank 1",
            "rank 2",
        ]


@on_ranks(2)
def test_the_main_rank_has_a_track_if_it_works():
    import pathlib
    import tempfile

    path = pathlib.Path(tempfile.gettempdir()) / f"trace-{services.MPI.bcast(time.time_ns())}.json"
    pool = create_job_pool(quiet=True, main_works=True)
    pool.add_listener(TraceListener(path))
    with pool:
        if pool.is_main():
            for rank in (0, 1):
                pool.options(targets=[rank]).submit(sleep, 0.01)
        pool.execute()
    if not services.MPI.get_rank():
        trace = read(path)
        path.unlink()
        assert {event["tid"] for event in slices_of(trace)} == {0, 1}


class WithoutJobs(RecordingListener):
    """A recorder that needs no records of jobs."""

    job_records = False

    def job_failed(self, job, error):
        """Do nothing."""


class TestCost:
    def test_no_records_are_made_for_it(self, tmp_path):
        recorder = WithoutJobs()
        pool = create_job_pool(quiet=True)
        pool.add_listener(TraceListener(tmp_path / "t.json"))
        pool.add_listener(recorder)
        with pool:
            pool.queue_many(give, zip(range(100)))
            pool.execute()
        assert len(recorder.records) == len(recorder.pool_steps) == 3

    def test_other_listeners_still_get_all_records(self, tmp_path):
        recorder = RecordingListener()
        pool = create_job_pool(quiet=True)
        pool.add_listener(TraceListener(tmp_path / "t.json"))
        pool.add_listener(recorder)
        with pool:
            job = pool.submit(nothing)
            pool.execute()
        assert recorder.added == [job]
        assert len(slices_of(read(tmp_path / "t.json"))) == 1

    @pytest.mark.timing
    def test_at_most_two_microseconds_of_cpu_for_each_job(self, tmp_path):
        """The whole cost: noting the times, and writing the file."""
        jobs = 50_000

        def run(traces):
            pool = create_job_pool(quiet=True)
            if traces:
                pool.add_listener(TraceListener(tmp_path / "t.json"))
            with pool:
                pool.queue_many(give, zip(range(jobs)))
                pool.execute()

        cost = cpu_seconds(lambda: run(True), 5) - cpu_seconds(lambda: run(False), 5)
        assert cost / jobs < 2e-6

    def test_the_samples_of_the_memory_are_bounded(self, pool):
        samples = MemorySamples(pool.run_context)
        for _ in range(MOST_SAMPLES + 50):
            samples.sample()
        assert MOST_SAMPLES // 2 <= len(samples.samples) <= MOST_SAMPLES
        times = array("q", (sample[0] for sample in samples.samples))
        assert times == array("q", sorted(times))


class TestTheRules:
    """The checks above can fail."""

    @pytest.fixture
    def trace(self, tmp_path):
        return traced(tmp_path / "t.json", queue_graph)

    @pytest.mark.parametrize("phase", ["X", "M", "C", "s", "f"])
    def test_a_missing_key(self, trace, phase):
        event = next(event for event in trace["traceEvents"] if event["ph"] == phase)
        del event["pid"]
        assert problems(trace) == [f"{phase}: lacks ['pid']"]

    def test_slices_that_overlap(self, trace):
        slices_of(trace)[0]["dur"] += 100_000
        assert any("overlap" in problem for problem in problems(trace))

    def test_an_arrow_without_an_end(self, trace):
        events = trace["traceEvents"]
        events.remove(next(event for event in events if event["ph"] == "f"))
        assert len(problems(trace)) == 1

    def test_an_arrow_outside_of_slices(self, trace):
        event = next(event for event in trace["traceEvents"] if event["ph"] == "s")
        event["ts"] = -5.0
        assert any("outside" in problem for problem in problems(trace))

    def test_an_id_that_is_used_twice(self, trace):
        events = trace["traceEvents"]
        flow = next(event for event in events if event["ph"] == "s")
        events.append(copy.deepcopy(flow))
        assert len(problems(trace)) == 1


def test_the_status_of_all_jobs_is_final_when_it_is_written(tmp_path):
    trace = traced(tmp_path / "t.json", lambda pool: pool.queue_many(give, zip(range(10))))
    counts = trace["bsbpool"]["pools"][0]["jobs"]
    assert counts == {status.value: 10 * (status is JobStatus.SUCCESS) for status in JobStatus}
