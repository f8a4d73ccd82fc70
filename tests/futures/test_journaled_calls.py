"""Executors with a journal, with one process: a second run gets what the first one has done."""

import errno
import gc
import pickle
import threading
import time

import pytest

from bsbpool import PoolExecutor, current_job
from bsbpool._core.journal.key_table import KeyTable
from bsbpool.exceptions import JobCancelledError, JournalError
from bsbpool.futures.future import PoolFuture
from bsbpool.journal import Journal
from bsbpool.journal import writer as writer_module
from bsbpool.journal.contents import JournalContents
from bsbpool.journal.file import JournalFile
from bsbpool.journal.writer import JournalWriter

RAN = []


@pytest.fixture(autouse=True)
def clear():
    RAN.clear()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.journal"


def note(x=None, *others):
    RAN.append(x)
    return [x, *others]


def fail(x):
    RAN.append(x)
    raise ValueError(x)


def twice(path, play, **options):
    """Use two executors; return what `play` returned with each, and the calls that ran in each."""
    found = []
    for _ in range(2):
        RAN.clear()
        with PoolExecutor(journal=path, **options) as executor:
            found += [play(executor), RAN[:]]
    return found


def test_calls_are_resumed(path):
    def play(executor):
        first = executor.submit(note, 1)
        then = executor.submit(note, "then", first)
        third = executor.options(deps=[first]).submit(note, "third")
        return [future.result() for future in (first, then, third, executor.submit(print))]

    one, ran, two, again = twice(path, play)
    assert one == two == [[1], ["then", [1]], ["third"], None]
    assert (ran, again) == ([1, "then", "third"], [])


@pytest.mark.parametrize("options", [{}, {"buffersize": 2}, {"chunksize": 3}, {"unordered": True}])
def test_the_items_of_maps_are_calls(path, options):
    one, ran, two, again = twice(
        path, lambda executor: sorted(executor.map(note, range(6), range(6), **options))
    )
    assert one == two == [[i, i] for i in range(6)]
    assert (sorted(ran), again) == ([0, 1, 2, 3, 4, 5], [])
    with PoolExecutor(journal=path) as executor:
        assert list(executor.starmap(note, [(5, 5), (7, 8)])) == [[5, 5], [7, 8]]
    assert RAN == [7]


def test_a_map_that_fails(path):
    with PoolExecutor(journal=path) as executor:
        results = executor.map(fail, [1])
        with pytest.raises(ValueError, match="1"):
            next(results)
        with pytest.raises(TimeoutError):
            next(executor.map(slow, [5], timeout=0.01))


def slow(x):
    time.sleep(0.2)


def test_failures_run_again_unless_they_are_kept(path):
    def play(executor):
        error = executor.submit(fail, "no").exception()
        return type(error), str(error)

    one, ran, two, again = twice(path, play)
    assert one == two == (ValueError, "no")
    assert ran == again == ["no"]
    assert twice(Journal(path, resume_failed=False), play)[1:] == [[], one, []]


def test_options_of_calls(path):
    def play(executor):
        views = [
            executor.options(key="mine"), executor.options(key_version=2), executor,
            executor.options(journaled=False),
        ]  # fmt: skip
        return [view.submit(note, 1).result() for view in views]

    _, ran, _, again = twice(path, play)
    assert (len(ran), len(again)) == (4, 1)
    with PoolExecutor(journal=path) as executor:
        view = executor.options(key="mine")
        view.submit(note, 3).result()
        with pytest.raises(ValueError, match="key 'mine' was given to a call before"):
            view.submit(note, 4)


def test_options_that_do_not_change_results_make_no_other_calls(path):
    with PoolExecutor(journal=path) as executor:
        executor.submit(note, 1).result()
    with PoolExecutor(journal=path) as executor:
        assert executor.options(priority=1, name="one").submit(note, 1).result() == [1]
        assert executor.options(seed=1).submit(note, 1).result() == [1]
    assert RAN == [1, 1]


def test_attempts_are_counted_over_all_runs(path):
    for n in (1, 2, 3):
        with PoolExecutor(journal=path) as executor:
            assert executor.submit(fail, 0).exception() is not None
        (job,) = JournalContents(str(path)).jobs()
        assert (job.status, job.attempts) == ("FAILED", n)


class Flag:
    """Does not count in keys."""

    def __init__(self, works):
        self.works = works

    def __bsbpool_key__(self):
        return ""


def works_if(flag):
    RAN.append("followed")
    if not flag.works:
        raise ValueError("no")


def test_a_call_that_follows_others_runs_again_if_one_of_them_does(path):
    def runs(works):
        RAN.clear()
        with PoolExecutor(journal=path) as executor:
            first = executor.submit(works_if, Flag(works))
            executor.options(on_end=[first]).submit(note, "follower").result()
        return RAN[:]

    assert runs(False) == ["followed", "follower"]
    assert runs(True) == ["followed", "follower"]
    assert runs(True) == []


def draw(x):
    return float(current_job().rng.random())


def test_random_numbers_do_not_depend_on_the_order_of_calls(tmp_path):
    def draws(name, *args):
        with PoolExecutor(journal=tmp_path / name) as executor:
            return [executor.options(seed=5).submit(draw, x).result() for x in args]

    (first,) = draws("a", 1)
    second, resumed = draws("a", 2, 1)
    assert resumed == first != second
    assert draws("b", 1, 2) == [first, second]


def test_equal_calls_are_counted(path):
    play = lambda executor: [executor.submit(note).result() for _ in range(3)]  # noqa: E731
    _, ran, _, again = twice(path, play)
    assert (len(ran), len(again)) == (3, 0)


def test_large_results_and_arrays(path):
    numpy = pytest.importorskip("numpy")
    journal = Journal(path, side_file_size=10_000, sync="always")

    def play(executor):
        results = executor.map(numpy.arange, [10, 100_000])
        return [int(array.sum()) for array in results]

    one, _, two, _ = twice(journal, play)
    assert one == two == [45, 4999950000]


class Slow:
    """Takes a while to be pickled, so that its user can change it meanwhile."""

    def __init__(self):
        self.values = [1]

    def __getstate__(self):
        time.sleep(0.05)
        return {"values": list(self.values)}


def make_slow():
    return Slow()


def test_results_are_recorded_before_their_user_can_change_them(path):
    with PoolExecutor(journal=path) as executor:
        executor.submit(make_slow).result().values.append(2)
    with PoolExecutor(journal=path) as executor:
        assert executor.submit(make_slow).result().values == [1]


def test_calls_are_on_the_disk_before_their_futures_have_ended(path):
    with PoolExecutor(journal=Journal(path, sync="always")) as executor:
        for i in range(20):
            assert executor.submit(note, i).result() == [i]
            assert JournalContents(str(path)).n_jobs == i + 1


def test_records_do_not_pile_up_in_memory(path, monkeypatch):
    monkeypatch.setattr(JournalWriter, "wake", lambda writer: None)  # as if its thread hung
    monkeypatch.setattr(writer_module, "MOST_WAITING", 10_000)
    with PoolExecutor(journal=path) as executor:
        for i in range(50):
            executor.submit(bytes, 1000 + i).result()
        assert JournalContents(str(path)).n_jobs >= 40


def fill_disk(monkeypatch):
    """Let all writes to journals fail from now on."""

    def full(file, batch):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JournalFile, "append", full)


def test_a_full_disk_ends_submissions(path, monkeypatch, caplog):
    executor = PoolExecutor(journal=Journal(path, sync="always"))
    executor.submit(note, 1).result()
    fill_disk(monkeypatch)
    assert executor.submit(note, 2).result() == [2]
    with pytest.raises(JournalError, match=r"cannot be written: .*No space left"):
        executor.submit(note, 3)
    with pytest.raises(JournalError, match=r"cannot be written: .*No space left"):
        executor.shutdown()
    assert RAN == [1, 2]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_full_disk_is_noticed_at_the_end(path, monkeypatch):
    with pytest.raises(JournalError, match="No space left"), PoolExecutor(journal=path) as executor:
        executor.submit(note, 1).result()
        fill_disk(monkeypatch)
        executor.submit(note, 2).result()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="mine"), PoolExecutor(journal=path) as executor:
        fill_disk(monkeypatch)
        executor.submit(note, 3).result()
        raise ValueError("mine")


def test_calls_can_go_on_without_a_journal(path, monkeypatch, caplog):
    with PoolExecutor(journal=Journal(path, sync="always", on_error="continue")) as executor:
        fill_disk(monkeypatch)
        assert [executor.submit(note, i).result() for i in range(3)] == [[0], [1], [2]]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_call_without_a_key_is_refused(path):
    with (
        PoolExecutor(journal=path) as executor,
        pytest.raises(TypeError, match=r"call of note has no key .*no stable digest.*key='...'"),
    ):
        executor.submit(note, object())


def test_one_executor_uses_a_journal(path):
    with PoolExecutor(journal=path) as executor:
        executor.submit(note, 1)
        with pytest.raises(JournalError, match="in use"), PoolExecutor(journal=path):
            pass
    executor = PoolExecutor(journal=path)  # without a `with` block
    assert executor.submit(note, 1).result() == [1]
    executor.shutdown()
    assert RAN == [1]
    with pytest.raises(TypeError, match="journal must be a path"):
        PoolExecutor(journal=5)


def version_of(flag):
    RAN.append("version")
    return flag.works


def test_a_call_with_a_result_that_varies_runs_again(path):
    """It depends on a call that follows others: the key of that call does not tell its result."""

    def runs(works):
        RAN.clear()
        with PoolExecutor(journal=path) as executor:
            first = executor.submit(works_if, Flag(works))
            follower = executor.options(on_end=[first]).submit(version_of, Flag(works))
            last = executor.submit(note, follower)
            after = executor.options(deps=[follower], key="after").submit(note, "after")
            assert (last.result(), after.result()) == ([works], ["after"])
        return RAN[:]

    assert runs(False) == ["followed", "version", False, "after"]
    assert runs(True) == ["followed", "version", True, "after"]
    assert runs(True) == []


def test_a_call_with_an_argument_that_is_not_journaled_runs_again(path):
    def play(executor):
        first = executor.options(journaled=False).submit(note, 1)
        then = executor.submit(note, "then", first)
        return executor.submit(note, "last", then).result()

    one, ran, two, again = twice(path, play)
    assert one == two == ["last", ["then", [1]]]
    assert ran == again == [1, "then", "last"]


def test_calls_that_did_not_run_are_no_failures(path):
    """Otherwise they would be kept by `resume_failed=False`, though they could run now."""
    journal = Journal(path, resume_failed=False)

    def error(works):
        with PoolExecutor(journal=journal) as executor:
            first = executor.options(key_version=str(works)).submit(works_if, Flag(works))
            return executor.options(deps=[first], key="then").submit(note, "then").exception()

    assert isinstance(error(False), JobCancelledError)
    assert [job.status for job in JournalContents(str(path)).jobs()] == ["FAILED", "CANCELLED"]
    assert error(True) is None
    assert RAN == ["followed", "followed", "then"]


def test_a_call_that_was_refused_does_not_use_up_its_key(path):
    for _ in range(2):
        with PoolExecutor(journal=path) as executor:
            for options in ({"key": "k"}, {}):
                view = executor.options(**options)
                with pytest.raises(ValueError, match="of another executor"):
                    view.submit(note, PoolFuture(executor))
                view.submit(note, 1).result()
    assert RAN == [1, 1]


@pytest.mark.parametrize("retries", [[1, 3, 3], [0, 0], [2, 0, 5]])
def test_retries_go_on_in_the_next_run(path, retries):
    """A call runs at most `retries` + 1 times, over all runs; but once in each."""
    ran = 0
    for n in retries:
        with PoolExecutor(journal=path) as executor:
            call = executor.options(retries=n, key="k").submit(fail, 0)
            assert isinstance(call.exception(), ValueError)
        assert len(RAN) == max(n + 1, ran + 1)
        ran = len(RAN)
        (job,) = JournalContents(str(path)).jobs()
        assert job.attempts == ran


def fail_or_look(path):
    """Fail once; then return the attempts that the journal has."""
    RAN.append("attempt")
    if len(RAN) == 1:
        raise ValueError("no")
    end = time.monotonic() + 30
    while (table := table_of(path)).unfinished() == [] and time.monotonic() < end:
        time.sleep(0.01)
    return [attempts for _, attempts in table.unfinished()]


def table_of(path):
    table = KeyTable()
    table.read(path.read_bytes())
    return table


def test_an_attempt_that_failed_is_recorded_while_the_call_goes_on(path):
    with PoolExecutor(journal=path) as executor:
        call = executor.options(retries=1, key="k").submit(fail_or_look, path)
        assert call.result() == [1]


def test_a_record_that_cannot_be_read_runs_again(path, caplog):
    with PoolExecutor(journal=path) as executor:
        executor.submit(note, 1).result()
    with PoolExecutor(journal=path) as executor:
        data = bytearray(path.read_bytes())
        data[data.rindex(pickle.dumps([1])[-6:])] ^= 1  # after the journal was opened
        path.write_bytes(data)
        assert executor.submit(note, 1).result() == [1]
    assert RAN == [1, 1]
    assert "cannot be loaded, so its call runs again" in caplog.text


def test_results_that_the_program_does_not_use_are_reported(path, caplog):
    for n in (3, 1, 3):
        caplog.clear()
        with PoolExecutor(journal=path) as executor:
            list(executor.map(note, range(n)))
        assert ("has the results of 2 jobs" in caplog.text) == (n == 1)


def test_the_end_of_a_call_is_written_without_further_threads(path, monkeypatch):
    """A program that ends, and whose executor was not shut down, cannot start any."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "bsbpool-journal":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with PoolExecutor(journal=path) as executor:
        assert executor.submit(note, 1).result() == [1]
    assert JournalContents(str(path)).n_jobs == 1


DROPPED = threading.Event()


def wait_until_dropped():
    DROPPED.wait(60)


def test_the_writer_may_collect_an_executor(path, monkeypatch):
    """As part of a reference cycle it is finalized by the thread that collects garbage."""
    append = JournalFile.append

    def collect(file, batch):
        append(file, batch)
        if threading.current_thread().name == "bsbpool-journal":
            gc.collect()

    gc.collect()
    gc.disable()
    try:
        executor = PoolExecutor(journal=path)
        executor.itself = executor
        monkeypatch.setattr(JournalFile, "append", collect)
        future = executor.submit(wait_until_dropped)
        del executor
        DROPPED.set()
        assert future.result() is None
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                JournalFile(str(path)).close()
                break
            except JournalError:  # it is in use
                time.sleep(0.01)
        else:
            pytest.fail("the journal was not closed")
    finally:
        gc.enable()
    assert JournalContents(str(path)).n_jobs == 1
