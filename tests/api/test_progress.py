"""Displays of progress: kinds of jobs, rates, texts of failures, lines, JSON and bars of tqdm."""

from __future__ import annotations

import functools
import io
import json
import re
import threading
import time
import weakref

import pytest

from bsbpool import JobPool, Workflow, WorkflowError, create_job_pool
from bsbpool.exceptions import DependencyError
from bsbpool.futures import PoolExecutor
from bsbpool.listeners import JsonLinesListener, Listener, LogListener, TqdmListener, streams
from bsbpool.listeners.counting import MOST_FAILURES
from bsbpool.listeners.default import DefaultListener, default_listener
from bsbpool.listeners.failures import failure_lines
from bsbpool.listeners.kinds import MOST_KINDS, KindCounts, Kinds
from bsbpool.listeners.polling import PoolCounter
from bsbpool.listeners.rates import Rate, clock_text, rate_text
from bsbpool.listeners.summary import counts_text, rows_of
from bsbpool.naming import kind_of

from .support import Node, fail, give, nothing, until


class Worker:
    """Has a method that jobs call."""

    def step(self, owner=None):
        pass

    def __call__(self, owner):
        pass


class TestKinds:
    def test_are_named_by_function_or_submitter(self, pool):
        for value in range(3):
            pool.submit(nothing)
            pool.submit(lambda owner, value=value: value)
            pool.submit(Worker().step)
            pool.submit(functools.partial(give, value=value))
            pool.submit(Worker())
            pool.queue(give, (1,), submitter=Node("{root}.soma"))
            pool.queue(give, (1,), submitter="a name")
            pool.queue(give, (1,), colour="green")
            pool.options(name="option").submit(nothing)
        kinds = Kinds()
        for job in pool.jobs:
            kinds.of_job(job).total += 1
        assert {kind.name: kind.total for kind in kinds.all()} == dict.fromkeys(
            ["nothing", "<lambda>", "Worker.step", "partial(give)", "<Worker>", "{root}.soma",
             "a name", "give", "option"], 3,
        )  # fmt: skip
        assert {kind_of(job) for job in pool.jobs} == {kind.name for kind in kinds.all()}
        pool.execute()

    def test_of_functions_that_share_a_decorator(self):
        def decorated(f):
            @functools.wraps(f)
            def wrapper(*args):
                return f(*args)

            return wrapper

        kinds = Kinds()
        for f in (decorated(nothing), decorated(give), decorated(nothing)):
            kinds.of_function(f).total += 1
        assert [(kind.name, kind.total) for kind in kinds.all()] == [("nothing", 2), ("give", 1)]

    def test_have_a_limit(self):
        kinds = Kinds()
        for n in range(2 * MOST_KINDS):
            kinds.named(f"job-{n}").total += 1
        assert len(kinds.all()) == MOST_KINDS + 1
        assert kinds.named("others").total == MOST_KINDS
        assert kinds.sum().total == 2 * MOST_KINDS

    def test_keep_no_callable_alive(self, pool):
        kinds, worker = Kinds(), Worker()
        gone = weakref.ref(worker)
        kinds.of_function(worker.step), kinds.of_function(worker)
        kinds.of_function(functools.partial(worker))
        del worker
        assert gone() is None

    def test_of_which_many_share_a_row(self):
        kinds = [KindCounts(f"kind {n}") for n in range(20)]
        for n, kind in enumerate(kinds):
            kind.total = 10
            kind.succeeded = 10 if n < 10 else 0
        kinds[19].running, kinds[19].failed = 1, 1
        rows = rows_of(kinds, 5)
        assert [row.name for row in rows] == [
            "kind 10", "kind 11", "kind 12", "kind 19", "16 others",
        ]  # fmt: skip
        assert (rows[-1].total, rows[-1].succeeded) == (160, 100)
        assert rows_of(kinds, 20) == kinds


class TestRates:
    def test_are_of_the_last_half_minute(self):
        rate = Rate(0.0)
        assert rate.seconds_left(5) is None
        for second in range(1, 101):
            rate.update(second, 10 * second)
        for second in range(101, 141):
            rate.update(second, 1000 + 2 * (second - 100))
        assert rate.per_second == pytest.approx(2.0)
        assert rate.seconds_left(20) == pytest.approx(10.0)
        assert rate.seconds_left(0) == 0

    def test_of_long_jobs_reach_further_back(self):
        rate = Rate(0.0)
        for second in range(1, 1000):
            rate.update(second, second // 60)
        assert rate.per_second == pytest.approx(1 / 60, rel=0.1)

    @pytest.mark.parametrize(
        ("rate", "text"),
        [(0, ""), (4123.4, "4123/s"), (41.34, "41.3/s"), (0.5, "30/min"), (0.001, "3.6/h")],
    )
    def test_texts(self, rate, text):
        assert rate_text(rate) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(None, "-:--:--"), (0.4, "0:00:00"), (3725, "1:02:05"), (200000, "2 d 7:33:20")],
    )
    def test_durations(self, seconds, text):
        assert clock_text(seconds) == text


def outer(owner=None):
    inner()


def inner():
    raise KeyError("no\nsuch key")


def test_failures_have_the_last_frames():
    try:
        outer()
    except KeyError as error:
        first, *frames = failure_lines("job 1 'outer()'", error)
    assert first == r"job 1 'outer()' failed: KeyError: 'no\nsuch key'"
    assert [frame.partition(" ")[2] for frame in frames] == [
        "in outer: inner()",
        r'in inner: raise KeyError("no\nsuch key")',
    ]


# ------------------------------------------------------------------ counting


class Counting(LogListener):
    """Prints a line for each refresh, very often."""

    def __init__(self):
        self.file = io.StringIO()
        super().__init__(self.file, seconds=0.001)


def test_pools_make_no_records_of_jobs_for_a_display(pool):
    listener, events = Counting(), pool.run_context.events
    pool.add_listener(listener)
    pool.queue_many(nothing, [()] * 100)
    events.gather()
    assert not events.records
    pool.add_listener(lambda record: None)
    pool.queue_many(nothing, [()] * 10)
    events.gather()
    assert len(events.records) >= 10
    pool.execute()
    assert "bsbpool: 110/110 jobs succeeded in" in listener.file.getvalue()


def test_a_listener_without_records_of_jobs_can_be_told_of_failures(pool):
    class Told(Listener):
        job_records = False

        def __init__(self):
            self.statuses, self.failed = [], []

        def __call__(self, progress):
            self.statuses.append(progress.status.name)

        def job_failed(self, job, error):
            self.failed.append((job, str(error)))

    class NotTold(Listener):
        job_records = False

        def __call__(self, progress):
            pass

    told = Told()
    pool.add_listener(told)
    pool.add_listener(NotTold())
    bad = pool.submit(fail, "why")
    with pytest.raises(WorkflowError):
        pool.execute()
    assert told.statuses == ["EXECUTING", "CLOSING"]
    assert told.failed == [(bad, "why")]


def test_only_unfinished_jobs_are_looked_at_again(pool):
    """So that a refresh costs little when most jobs have ended."""

    class Engine:
        def __init__(self, engine):
            self.status, self.n_asked = self.ask, 0
            self.engine = engine

        def __len__(self):
            return len(self.engine)

        def ask(self, number):
            self.n_asked += 1
            return self.engine.status(number)

    class View:
        run_context = type("Context", (), {})()

    engine = Engine(pool.run_context.engine)
    View.run_context.jobs, View.run_context.engine = pool.run_context.jobs, engine
    kinds = Kinds()
    counter = PoolCounter(View, kinds)
    seen = []

    def look(owner):
        before = engine.n_asked
        counter.update()
        seen.append((engine.n_asked - before, counts_text(kinds.sum())))

    pool.queue_many(nothing, [()] * 100)
    pool.submit(look)
    pool.submit(look)
    pool.execute()
    assert seen == [
        (102, "100/102 jobs succeeded, 1 running"),
        (2, "101/102 jobs succeeded, 1 running"),
    ]


class TestLines:
    def test_come_with_rate_and_estimate(self, pool):
        listener = Counting()
        pool.add_listener(listener)
        pattern = r"bsbpool: 5/9 jobs succeeded, 1 running, 0:00:0\d, [\d.]+/\w+, ETA [\d:]+\n"

        def wait(owner):
            assert until(lambda: re.search(pattern, listener.file.getvalue()))

        pool.queue_many(nothing, [()] * 5)
        pool.submit(wait)
        pool.queue_many(nothing, [()] * 3)
        pool.execute()
        lines = listener.file.getvalue().splitlines()
        assert lines[-2:] == ["  nothing  8/8 jobs succeeded", "  wait     1/1 jobs succeeded"]
        assert re.fullmatch(r"bsbpool: 9/9 jobs succeeded in \d.\d s, .*/\w+", lines[-3])

    def test_of_few_failures_are_complete(self, pool):
        file = io.StringIO()
        pool.add_listener(LogListener(file))
        pool.queue_many(fail, [(f"error {n}",) for n in range(MOST_FAILURES + 7)])
        with pytest.raises(WorkflowError):
            pool.execute()
        lines = file.getvalue().splitlines()
        assert lines[0] == "bsbpool: job 0 'fail('error 0')' failed: ValueError: error 0"
        line = fail.__code__.co_firstlineno + 2
        assert lines[1] == f"    support.py:{line} in fail: raise ValueError(message)"
        assert len([line for line in lines if "' failed: " in line]) == MOST_FAILURES
        assert "bsbpool: 7 further failures not shown" in lines
        assert lines[-1].startswith("bsbpool: 0/17 jobs succeeded, 17 failed in")

    def test_have_the_phase(self):
        file = io.StringIO()
        workflow = Workflow(["placement", "connectivity"])
        workflow.next_phase()
        pool = JobPool(1, None, workflow=workflow)
        pool.add_listener(LogListener(file))
        with pool:
            pool.submit(nothing)
            pool.execute()
        assert file.getvalue().startswith("bsbpool: connectivity (2 of 2): 1/1 jobs succeeded in")

    def test_are_not_printed_without_jobs(self, pool):
        file = io.StringIO()
        pool.add_listener(LogListener(file))
        pool.execute()
        assert file.getvalue() == ""

    def test_to_a_closed_file_do_not_end_the_run(self, pool):
        file = io.StringIO()
        pool.add_listener(LogListener(file))
        file.close()
        assert pool.submit(give, 1) and pool.execute() is None

    def test_a_listener_serves_several_pools(self):
        file = io.StringIO()
        listener = LogListener(file)
        for n in (2, 3):
            pool = create_job_pool(quiet=True)
            pool.add_listener(listener)
            with pool:
                pool.queue_many(nothing, [()] * n)
                pool.execute()
        found = re.findall(r"bsbpool: (\S+) jobs succeeded in", file.getvalue())
        assert found == ["2/2", "3/3"]


class Broken(LogListener):
    def start_display(self):
        if self._file is None:
            raise OSError("no terminal")

    def show_failure(self, lines):
        raise OSError("no terminal")

    def show_end(self):
        raise OSError("no terminal")


def test_a_display_that_raises_does_not_end_the_run(pool):
    pool.add_listener(Broken(io.StringIO()))
    pool.submit(fail)
    good = pool.submit(give, 3)
    with pytest.raises(WorkflowError) as raised:
        pool.execute()
    assert len(raised.value.exceptions) == 1
    assert good.result == 3


def test_a_display_that_cannot_begin_is_left_off(pool):
    pool.add_listener(Broken())
    job = pool.submit(give, 3)
    with pytest.warns(RuntimeWarning, match="The progress is not shown: no terminal"):
        pool.execute()
    assert job.result == 3


@pytest.mark.parametrize("unordered", [False, True])
def test_a_display_that_raises_does_not_end_a_map(unordered):
    with PoolExecutor(progress=Broken(io.StringIO())) as executor:
        mapped = executor.map(abs, range(5), unordered=unordered)
        assert sorted(mapped) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("value", [0, -1.0])
def test_intervals_must_be_positive(value):
    with pytest.raises(ValueError, match="fps must be positive"):
        TqdmListener(fps=value)
    with pytest.raises(ValueError, match="seconds must be positive"):
        LogListener(seconds=value)


def test_bars_of_tqdm_may_be_disabled(pool):
    pool.add_listener(TqdmListener(disable=True))
    job = pool.submit(give, 3)
    pool.execute()
    assert job.result == 3


def test_json_lines_on_a_full_disk_do_not_end_the_run(pool):
    pool.add_listener(JsonLinesListener("/dev/full"))
    jobs = [pool.submit(give, n) for n in range(2000)]
    with pytest.warns(RuntimeWarning, match=r"No more records are written to /dev/full: .*space"):
        pool.execute()
    assert [job.result for job in jobs] == list(range(2000))


def test_threads_of_displays_end(pool):
    pool.add_listener(Counting())
    pool.submit(nothing)
    pool.execute()
    assert not [t for t in threading.enumerate() if t.name == "bsbpool-progress"]


# ------------------------------------------------------------------ the choice


@pytest.mark.parametrize(("choice", "package"), [("terminal", "rich"), ("tqdm", "tqdm")])
def test_a_missing_package_is_named(monkeypatch, choice, package):
    monkeypatch.setenv("BSBPOOL_PROGRESS", choice)
    monkeypatch.setattr(streams, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=rf"needs {package}; .*bsbpool\[progress\]"):
        create_job_pool()


@pytest.mark.parametrize(
    ("choice", "name"),
    [("terminal", "TerminalListener"), ("lines", "LogListener"), ("tqdm", "TqdmListener"),
     ("auto", "LogListener"), ("", "LogListener"), ("off", "NoneType")],
)  # fmt: skip
def test_the_environment_chooses(monkeypatch, choice, name):
    monkeypatch.setenv("BSBPOOL_PROGRESS", choice)
    assert type(default_listener()).__name__ == name


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setenv("BSBPOOL_PROGRESS", "fancy")
    with pytest.raises(ValueError, match=r"BSBPOOL_PROGRESS must be one of auto, .* got 'fancy'"):
        create_job_pool()


def test_a_pool_shows_progress_unless_it_is_quiet(capfd):
    for quiet in (False, True):
        with create_job_pool(quiet=quiet) as pool:
            pool.submit(nothing)
            pool.execute()
    assert capfd.readouterr().err.count("bsbpool: 1/1 jobs succeeded in") == 1


def test_the_default_listener_passes_failures_on(pool, capfd):
    pool.add_listener(DefaultListener())
    pool.submit(fail, "why")
    with pytest.raises(WorkflowError):
        pool.execute()
    assert "bsbpool: job 0 'fail('why')' failed: ValueError: why" in capfd.readouterr().err


# ------------------------------------------------------------------ other forms


def test_json_lines(tmp_path):
    path = tmp_path / "jobs.jsonl"
    pool = create_job_pool(quiet=True)
    pool.add_listener(JsonLinesListener(path))
    before = time.time()
    with pytest.raises(WorkflowError), pool:
        pool.queue(nothing, submitter='a "name"')
        pool.submit(fail, "why \u1234")
        pool.options(capture_output=True).submit(lambda owner: print("hello"))
        pool.execute()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    times = [event.pop("time") for event in events]
    assert times == sorted(times)
    assert before - 1 <= times[0] <= times[-1] <= time.time() + 1
    assert [event for event in events if event.get("job") == 0] == [
        {"event": "job", "job": 0, "name": 'a "name"', "status": "pending"},
        {"event": "job", "job": 0, "name": 'a "name"', "status": "queued", "old": "pending"},
        {"event": "job", "job": 0, "name": 'a "name"', "status": "running", "old": "queued"},
        {"event": "job", "job": 0, "name": 'a "name"', "status": "success", "old": "running"},
    ]
    (failed,) = [event for event in events if event.get("status") == "failed"]
    assert failed["error"] == "ValueError: why \u1234"
    assert {"event": "output", "job": 2, "stream": 1, "text": "hello\n"} in events
    assert events[-1] == {
        "event": "pool", "status": "closing", "counts": {"success": 2, "failed": 1},
    }  # fmt: skip


def test_json_lines_name_each_job(tmp_path):
    names = [f"{'long ' * 20}{n}" for n in range(MOST_KINDS + 2)]
    pool = create_job_pool(quiet=True)
    pool.add_listener(JsonLinesListener(tmp_path / "jobs.jsonl"))
    with pool:
        for name in names:
            pool.options(name=name).submit(nothing)
        pool.execute()
    events = [json.loads(line) for line in (tmp_path / "jobs.jsonl").read_text().splitlines()]
    assert [event["name"] for event in events if event.get("status") == "pending"] == names


def test_json_lines_of_a_second_pool_are_appended(tmp_path):
    listener = JsonLinesListener(tmp_path / "jobs.jsonl")
    for _ in range(2):
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        with pool:
            pool.submit(nothing)
            pool.execute()
    assert (tmp_path / "jobs.jsonl").read_text().count('"status": "success"') == 2


def test_bars_of_tqdm(pool):
    pytest.importorskip("tqdm")
    file = io.StringIO()
    pool.add_listener(TqdmListener(file=file, ascii=True, ncols=100))
    pool.queue_many(nothing, [()] * 20)
    pool.submit(fail)
    with pytest.raises(WorkflowError):
        pool.execute()
    last = re.split(r"[\r\n]+", file.getvalue())
    assert any(re.match(r"nothing: 100%\|#+\| 20/20 ", line) for line in last)
    assert any(re.match(r"fail: 100%\|#+\| 1/1 .* 1 failed\]", line) for line in last)


# ------------------------------------------------------------------ executors


def square(n):
    if n == 5:
        raise ValueError("five")
    return n * n


class TestExecutors:
    def counts(self, act):
        file = io.StringIO()
        with PoolExecutor(progress=LogListener(file)) as executor:
            act(executor)
        return file.getvalue()

    def test_count_calls_and_items(self):
        def act(executor):
            assert sum(executor.map(square, range(4), chunksize=2)) == 14
            assert list(executor.map(square, iter([6, 7]), buffersize=1)) == [36, 49]
            assert executor.submit(square, 5).exception() is not None
            assert executor.options(name="other").submit(square, 1).result() == 1

        text = self.counts(act)
        assert "bsbpool: square() failed on rank 0: ValueError: five\n" in text
        assert "bsbpool: 7/8 jobs succeeded, 1 failed in" in text
        assert "  square  6/7 jobs succeeded, 1 failed\n" in text
        assert "  other   1/1 jobs succeeded\n" in text

    def test_count_the_items_of_a_map_that_fails(self):
        def act(executor):
            with pytest.raises(ValueError, match="five"):
                list(executor.map(square, range(10), chunksize=4))

        text = self.counts(act)
        counts = re.search(r"bsbpool: (\d+)/10 jobs succeeded, 1 failed, (\d+) cancelled in", text)
        assert sum(map(int, counts.groups())) == 9

    def test_count_cancelled_calls(self):
        def act(executor):
            release = threading.Event()
            waiting[:] = [release]
            first, second = executor.submit(wait_for_release), executor.submit(square, 1)
            assert until(first.running)
            assert second.cancel()
            release.set()

        waiting = _waiting
        assert "bsbpool: 1/2 jobs succeeded, 1 cancelled in" in self.counts(act)

    def test_show_nothing_by_default_and_without_calls(self, capfd):
        with PoolExecutor() as executor:
            executor.submit(square, 1).result()
        assert self.counts(lambda executor: None) == ""
        assert capfd.readouterr().err == ""

    def test_refuse_other_values(self):
        with pytest.raises(TypeError, match="progress must be True, False, or a TerminalListener"):
            PoolExecutor(progress="yes")


_waiting = []


def wait_for_release():
    _waiting[0].wait(30)
