"""Pools with a journal: a second run gets what the first one has done."""

import contextlib
import errno
import functools
import gc
import logging
import os
import sys
import threading
import time

import numpy as np
import pytest

from api.support import give
from bsbpool import (
    Job,
    JobPool,
    JobStatus,
    LeftInTime,
    SubmissionContext,
    WorkflowError,
    create_job_pool,
    current_job,
)
from bsbpool.exceptions import (
    JobCancelledError,
    JobPoolError,
    JobPoolTimeoutError,
    JournalError,
)
from bsbpool.journal import Journal
from bsbpool.journal import writer as writer_module
from bsbpool.journal.contents import JournalContents
from bsbpool.journal.file import JournalFile
from bsbpool.journal.side_files import SideFiles
from bsbpool.journal.writer import JournalWriter

RAN = []
"""The arguments of the calls that ran."""


@pytest.fixture(autouse=True)
def clear():
    RAN.clear()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.journal"


def note(owner, x=None):
    """Note the call; return the argument."""
    RAN.append(x)
    return x


def total(owner, *parts):
    RAN.append("total")
    return sum(parts)


def fail(owner, message="no"):
    RAN.append(message)
    raise ValueError(message)


def run(path, queue, **options):
    """Run a pool whose jobs `queue(pool)` makes; return their results and how many were resumed."""
    with create_job_pool(quiet=True, journal=path, **options) as pool:
        jobs = queue(pool)
        pool.execute()
        return [job.result for job in jobs], pool.run_context.journal.n_resumed


def both(path, queue, **options):
    """Run twice; return the results and the calls of both runs."""
    first = run(path, queue, **options)[0]
    ran = RAN[:]
    RAN.clear()
    return first, ran, run(path, queue, **options)[0], RAN[:]


def test_a_second_run_runs_nothing(path):
    def queue(pool):
        parts = pool.queue_many(note, zip(range(5)))
        return [*parts, pool.submit(total, *parts), pool.queue(note, ("last",), deps=parts)]

    first, ran, second, again = both(path, queue)
    assert first == second == [0, 1, 2, 3, 4, 10, "last"]
    assert (len(ran), again) == (7, [])


def test_only_what_is_left_runs(path):
    run(path, lambda pool: pool.queue_many(note, zip(range(3))))
    RAN.clear()
    results, resumed = run(path, lambda pool: pool.queue_many(note, zip([5, 2, 1, 7])))
    assert (results, resumed, RAN) == ([5, 2, 1, 7], 2, [5, 7])


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2.5, "text", b"bytes", (1, "a"), [1, [2]], {"a": [1]}, {"a", "b"},
        "x" * 40_000, np.arange(5), np.arange(50_000), {"a": np.ones(200_000)}, np.float64(1),
        slice(1, 2), ValueError("a value"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
@pytest.mark.parametrize("options", [{}, {"strict": True}, {"max_memory": 1000}], ids=str)
def test_results_of_all_kinds(path, value, options):
    journal = Journal(path, side_file_size=100_000)
    queue = lambda pool: [pool.submit(note, value, key="k")]  # noqa: E731
    first, _, second, again = both(journal, queue, **options)
    assert again == []
    if not isinstance(value, set):  # which may have another order
        assert repr(first) == repr(second)
    assert type(first[0]) is type(second[0])


def test_each_access_gives_a_new_copy(path):
    def queue(pool):
        return [pool.submit(note, [1, 2])]

    run(path, queue)
    with create_job_pool(quiet=True, journal=path) as pool:
        (job,) = queue(pool)
        job.result.append(3)
        pool.execute()
        assert job.result == [1, 2]


def test_results_are_read_when_they_are_needed(path, monkeypatch):
    def queue(pool):
        return pool.queue_many(note, zip([[i] for i in range(5)]))

    run(path, queue)
    with create_job_pool(quiet=True, journal=path) as pool:
        reads = []
        read = JournalFile.record
        monkeypatch.setattr(
            JournalFile, "record", lambda self, at: reads.append(at) or read(self, at)
        )
        jobs = queue(pool)
        assert [job.status for job in jobs] == [JobStatus.SUCCESS] * 5
        pool.execute()
        assert reads == []
        assert jobs[3].result == [3]
        assert len(reads) == 1


def test_a_large_result_has_a_file_of_its_own(path):
    journal = Journal(path, side_file_size=1000)
    queue = lambda pool: [pool.submit(note, np.arange(1000), key="large")]  # noqa: E731
    _, _, second, again = both(journal, queue)
    assert again == []
    assert second[0].tolist() == list(range(1000))
    folder = f"{path}.d"
    (name,) = os.listdir(folder)
    assert os.stat(path).st_size < 4000
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.stat(f"{folder}/{name}").st_mode & 0o777 == 0o600
    os.unlink(f"{folder}/{name}")
    assert run(journal, queue)[0][0].tolist() == list(range(1000))  # it runs again
    assert len(RAN) == 1
    with open(f"{folder}/{name}", "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"x")
    with create_job_pool(quiet=True, journal=journal) as pool:
        (job,) = queue(pool)
        pool.execute()
        with pytest.raises(Exception, match="cannot be read"):
            _ = job.result
        assert job.status is JobStatus.FAILED
    assert run(journal, queue)[1] == 0  # it is not resumed again


def test_a_result_that_cannot_be_kept_runs_again(path, caplog):
    def lock(owner):
        RAN.append("lock")
        return threading.Lock()

    run(path, lambda pool: [pool.submit(lock)])
    assert "is not kept, so its job runs again: TypeError" in caplog.text
    run(path, lambda pool: [pool.submit(lock)])
    assert RAN == ["lock", "lock"]


def test_equal_jobs_are_counted(path):
    queue = lambda pool: [pool.submit(note, 1) for _ in range(3)]  # noqa: E731
    run(path, queue)
    assert RAN == [1, 1, 1]
    RAN.clear()
    assert run(path, lambda pool: [pool.submit(note, 1) for _ in range(5)]) == ([1] * 5, 3)
    assert RAN == [1, 1]


def test_keys_of_the_user(path):
    run(path, lambda pool: [pool.submit(note, 1, key="a"), pool.submit(note, 2, key="b")])
    RAN.clear()
    results, _ = run(path, lambda pool: [pool.submit(give, 7, key="b"), pool.submit(note, 3)])
    assert (results, RAN) == ([2, 3], [3])
    with create_job_pool(quiet=True, journal=path) as pool:
        pool.submit(note, 1, key="a")
        with pytest.raises(ValueError, match="key 'a' was given to a job before"):
            pool.options(key="a").submit(note, 2)
        pool.execute()


def test_versions_make_other_jobs(path):
    def runs(journal=path, **options):
        RAN.clear()
        run(journal, lambda pool: [pool.options(**options).submit(note, 1)])
        return bool(RAN)

    assert runs()
    assert not runs()
    assert runs(key_version=1)
    assert not runs(key_version=1)
    assert runs(key_version="1")
    assert not runs(priority=3)
    assert runs(seed=5)
    assert runs(Journal(path, key_version=2))
    assert not runs(Journal(path, key_version=2))


def test_the_keys_of_dependencies_count_in_any_order(path):
    def queue(pool, first, reverse=False):
        deps = [pool.submit(note, first), pool.submit(note, "same")]
        return [pool.queue(note, ("later",), deps=reversed(deps) if reverse else deps)]

    run(path, lambda pool: queue(pool, 1))
    RAN.clear()
    run(path, lambda pool: queue(pool, 1, reverse=True))
    assert RAN == []
    run(path, lambda pool: queue(pool, 2))
    assert RAN == [2, "later"]


def test_a_job_is_resumed_before_its_dependencies_have_run(path):
    def queue(pool):
        dep = pool.options(journaled=False).submit(note, "dep")
        later = pool.queue(note, ("later",), deps=[dep])
        return [later, pool.queue(note, ("last",), deps=[later])]

    assert both(path, queue)[3] == ["dep"]


def outcomes(path, states, options):
    """Run a job that follows others, which fail unless `states` says so; return what ran.

    `states` has a flag for each of the others; the last job depends on the one that follows them.
    """
    RAN.clear()
    with create_job_pool(quiet=True, journal=path) as pool:
        others = [pool.submit(works_if, i, Flag(state)) for i, state in enumerate(states)]
        follower = pool.options(**{option: others for option in options}).submit(note, "follower")
        end = pool.queue(note, ("last",), deps=[follower])
        with contextlib.suppress(WorkflowError):
            pool.execute()
        assert end.status in (JobStatus.SUCCESS, JobStatus.CANCELLED)
    return RAN[:]


class Flag:
    """Does not count in keys."""

    def __init__(self, works):
        self.works = works

    def __bsbpool_key__(self):
        return ""


def works_if(owner, i, flag):
    RAN.append(i)
    if not flag.works:
        raise ValueError("no")
    return i


@pytest.mark.parametrize("option", ["after_any", "on_end"])
def test_a_job_that_follows_others_runs_again_if_one_of_them_does(path, option):
    assert outcomes(path, [True, False], [option]) == [0, 1, "follower", "last"]
    assert outcomes(path, [True, True], [option]) == [1, "follower", "last"]
    assert outcomes(path, [True, True], [option]) == []


def test_a_job_that_follows_failures_that_are_kept_is_resumed(path):
    journal = Journal(path, resume_failed=False)
    assert outcomes(journal, [False], ["on_failure"]) == [0, "follower", "last"]
    assert outcomes(journal, [False], ["on_failure"]) == []


def test_a_result_from_before_the_jobs_it_follows_is_not_used(path):
    """The run was cut off after the other job had ended in another way, before the follower."""
    assert outcomes(path, [False], ["on_end"]) == [0, "follower", "last"]
    run(path, lambda pool: [pool.submit(works_if, 0, Flag(True))])
    assert outcomes(path, [True], ["on_end"]) == ["follower", "last"]
    assert outcomes(path, [True], ["on_end"]) == []


def test_a_job_with_an_argument_that_is_not_journaled_runs_again(path):
    def count(owner):
        return len(RAN)

    def queue(pool):
        source = pool.options(journaled=False).submit(count)
        return [pool.submit(note, pool.submit(note, source)), source]

    assert run(path, queue) == ([0, 0], 0)
    assert run(path, queue) == ([2, 2], 0)


def test_random_numbers_do_not_depend_on_the_order_of_jobs(path):
    def draw(owner, x):
        return float(current_job().rng.random())

    def queue(pool, *args):
        return [pool.options(seed=5).submit(draw, x) for x in args]

    (first,), _ = run(path, lambda pool: queue(pool, 1))
    (second, resumed), n = run(path, lambda pool: queue(pool, 2, 1))
    assert (resumed, n) == (first, 1)
    assert second != first
    assert run(path.with_name("other"), lambda pool: queue(pool, 1, 2))[0] == [first, second]


def test_a_job_that_was_refused_does_not_use_up_its_key(path):
    with create_job_pool(quiet=True, journal=path) as pool:
        for options in 2 * [{"key": "k"}, {"priority": 1}]:
            with pytest.raises(TypeError, match="deps must contain jobs"):
                pool.options(**options).queue(note, (1,), deps=[object()])
        pool.submit(note, 1, key="k")
        with pytest.raises(ValueError, match="was given to a job before"):
            pool.submit(note, 1, key="k")
        for _ in range(2):
            pool.submit(note, 1)
        pool.execute()
    run(path, lambda pool: [pool.submit(note, 1) for _ in range(2)])
    assert RAN == [1, 1, 1]


def test_a_job_that_would_be_resumed_is_refused_as_well(path):
    run(path, lambda pool: [pool.submit(note, 1, key="k")])
    with create_job_pool(quiet=True) as other, create_job_pool(quiet=True, journal=path) as pool:
        for dep in (other.submit(note), object()):
            with pytest.raises((JobPoolError, TypeError), match="deps"):
                pool.options(key="k").queue(note, (1,), deps=[dep])
        pool.submit(note, 1, key="k")
        pool.execute()
        other.execute()
    assert RAN == [1, None]


def test_only_attempts_that_failed_count(path):
    """The result is not kept, so that the job runs in each run; it can still fail twice."""
    def lock(owner):
        return threading.Lock()

    for _ in range(3):
        with create_job_pool(quiet=True, journal=path) as pool:
            job = pool.options(retries=2).submit(lock)
            pool.execute()
            assert job.options.retries == 2


def test_failures_run_again_unless_they_are_kept(path):
    def queue(pool):
        return [pool.submit(fail, "first"), pool.submit(note, 1)]

    for expected in (["first", 1], ["first"]):
        RAN.clear()
        with pytest.raises(WorkflowError):
            run(path, queue)
        assert expected == RAN
    RAN.clear()
    with create_job_pool(quiet=True, journal=Journal(path, resume_failed=False)) as pool:
        failed, _ = queue(pool)
        dependent = pool.queue(note, ("dependent",), deps=[failed])
        assert failed.status is JobStatus.FAILED
        with pytest.raises(WorkflowError):
            pool.execute()
        assert isinstance(failed.error, ValueError)
        assert str(failed.error) == "first"
        assert dependent.status is JobStatus.CANCELLED
    assert RAN == []


def test_jobs_that_were_cancelled_or_aborted_run_again(path):
    entered = threading.Event()

    def endless(owner):
        RAN.append("endless")
        entered.set()
        while True:
            threading.Event().wait(0.01)

    with create_job_pool(quiet=True, journal=path) as pool:
        pool.submit(note, "done")
        pool.options(name="endless", key="endless").submit(endless)
        pool.submit(note, "never began")
        pool.submit(note, "cancelled").cancel()
        threading.Thread(target=lambda: (entered.wait(), pool.stop())).start()
        with pytest.raises(JobCancelledError):
            pool.execute()
    file = JournalFile(str(path))
    ends = [file.record(offset)[1] for offset in file.table.offsets()]
    file.close()
    assert sorted(ends) == [3, 5, 6]  # SUCCESS, CANCELLED, ABORTED
    RAN.clear()
    run(path, lambda pool: [
        pool.submit(note, x) for x in ("done", "never began", "cancelled")
    ] + [pool.submit(note, "endless", key="endless")])  # fmt: skip
    assert sorted(RAN) == ["cancelled", "endless", "never began"]


@pytest.mark.parametrize("retries", [[1, 3, 3], [0, 0], [2, 0, 5]])
def test_attempts_are_counted_over_runs(path, retries):
    """A job runs at most `retries` + 1 times, over all runs; but once in each."""
    ran = 0
    for n in retries:
        with create_job_pool(quiet=True, journal=path) as pool:
            pool.options(retries=n, key="k").submit(fail)
            with pytest.raises(WorkflowError):
                pool.execute()
        assert len(RAN) == max(n + 1, ran + 1)
        ran = len(RAN)


def test_an_attempt_that_failed_counts_when_the_run_is_cut_off(path):
    def attempt(owner):
        RAN.append(1)
        if len(RAN) == 2:
            raise KeyboardInterrupt
        raise ValueError("no")

    for expected, error in ((2, KeyboardInterrupt), (4, WorkflowError)):
        with create_job_pool(quiet=True, journal=path) as pool:
            pool.options(retries=2, key="k").submit(attempt)
            with pytest.raises(error):
                pool.execute()
        assert len(RAN) == expected


def test_callbacks_and_listeners_see_jobs_that_were_resumed(path):
    run(path, lambda pool: [pool.submit(note, 1)])
    seen = []
    with create_job_pool(quiet=True, journal=path) as pool:
        pool.add_listener(lambda progress: seen.append(getattr(progress, "status", None)) and None)
        job = pool.submit(note, 1)
        job.on_completion(lambda job: seen.append(job.result))
        assert job.wait(0)
        results = pool.execute(return_results=True)
        assert list(results.values()) == [1]
        assert pool.counts[JobStatus.SUCCESS] == 1
    assert seen[0] == 1
    assert JobStatus.SUCCESS in seen


def test_threads_that_queue_jobs_resume_them(path):
    class Node:
        name = "node"

        def queue(self, pool):
            self.job = pool.submit(note, 1)

    for _ in range(2):
        with create_job_pool(quiet=True, journal=path) as pool:
            node = Node()
            pool.schedule([node])
            pool.execute()
            assert node.job.result == 1
    assert RAN == [1]


class Square(Job):
    def __init__(self, pool, x):
        super().__init__(pool, SubmissionContext(None), (x,), {})

    @staticmethod
    def execute(job_owner, args, kwargs):
        RAN.append(args[0])
        return args[0] ** 2


def test_jobs_of_other_classes(path):
    first, _, second, again = both(path, lambda pool: [pool.put(Square(pool, x)) for x in (2, 3)])
    assert (first, second, again) == ([4, 9], [4, 9], [])


def test_other_ways_to_give_a_journal(path):
    for made in (
        lambda: JobPool(1, None, journal=str(path)),
        lambda: create_job_pool(quiet=True, journal=os.fspath(path), options={"priority": 1}),
    ):
        with made() as pool:
            job = pool.submit(note, 1)
            pool.execute()
            assert job.result == 1
    assert RAN == [1]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: create_job_pool(journal=3), "journal must be a path or a bsbpool.journal.Journal"),
        (lambda: Journal(""), "path must be the path of a file"),
        (lambda: Journal("a", sync="often"), "sync must be seconds, 'always' or 'never'"),
        (lambda: Journal("a", sync=-1), "sync must be"),
        (lambda: Journal("a", on_error="stop"), "on_error must be 'raise' or 'continue'"),
        (lambda: Journal("a", side_file_size=-1), "side_file_size must be from 0"),
        (lambda: Journal("a", side_file_size=1.5), "side_file_size must be a number of bytes"),
        (lambda: Journal("a", key_version=1.5), "key_version must be an integer or a string"),
        (lambda: Journal("a", resume_failed="no"), "resume_failed must be"),
    ],
)
def test_wrong_values_are_refused(make, text):
    with pytest.raises((TypeError, ValueError), match=text):
        make()


def test_a_second_pool_is_refused_until_the_first_ends(path):
    with create_job_pool(quiet=True, journal=path) as pool:
        with pytest.raises(JournalError, match="in use by another pool of this process"):
            create_job_pool(quiet=True, journal=path)
        pool.execute()
    with create_job_pool(quiet=True, journal=path) as pool:
        pool.execute()


def test_with_always_an_end_is_in_the_file_before_the_next_job(path):
    def size(owner, i):
        return os.stat(path).st_size

    with create_job_pool(quiet=True, journal=Journal(path, sync="always")) as pool:
        jobs = pool.queue_many(size, zip(range(5)))
        pool.execute()
        sizes = [job.result for job in jobs]
    assert sizes == sorted(set(sizes))


def test_ends_are_in_the_file_soon(path):
    """While the next job runs, which waits for that; so they survive the death of the process."""

    def grown(owner, i):
        for _ in range(1000):
            if os.stat(path).st_size > sizes[-1]:
                break
            time.sleep(0.01)
        sizes.append(os.stat(path).st_size)

    with create_job_pool(quiet=True, journal=path) as pool:
        sizes = [0]
        pool.queue_many(grown, zip(range(4)))
        pool.execute()
    assert sizes == sorted(set(sizes))


def test_the_writer_is_not_woken_before_there_is_a_record(path, monkeypatch):
    """Else it could find nothing, and nobody would wake it for the records that follow."""
    wake = JournalWriter.wake

    def wake_and_rest(writer):
        wake(writer)
        time.sleep(0.1)  # as if the main thread did not get the processor; the writer writes

    def wait_for_records(owner):
        end = time.monotonic() + 30
        while JournalContents(str(path)).n_jobs < 3 and time.monotonic() < end:
            time.sleep(0.01)
        return JournalContents(str(path)).n_jobs

    monkeypatch.setattr(JournalWriter, "wake", wake_and_rest)
    results, _ = run(path, lambda pool: [
        *pool.queue_many(note, zip([1, ["a list"], 3])), pool.submit(wait_for_records, key="last"),
    ])  # fmt: skip
    assert results[-1] == 3


@pytest.mark.parametrize("sync", ["never", 0, 0.5, "always"])
def test_all_ways_to_sync(path, sync):
    def queue(pool):
        return pool.queue_many(note, zip(range(100)))

    assert both(Journal(path, sync=sync), queue)[3] == []


class TestFullDisk:
    @pytest.fixture
    def full(self, monkeypatch):
        """Let the disk be full from a call on."""
        write_at = os.pwrite

        def write(fd, data, offset):
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write_at(fd, data, offset)

        self.is_full, self.limit = False, 3
        monkeypatch.setattr(os, "pwrite", write)

    def job(self, owner, x):
        self.is_full = x >= self.limit
        return note(owner, x)

    def queue(self, pool):
        return [pool.submit(self.job, x, key=str(x)) for x in range(6)]

    def test_the_run_ends_with_an_error(self, path, full):
        with create_job_pool(quiet=True, journal=Journal(path, sync="always")) as pool:
            self.queue(pool)
            with pytest.raises(JournalError, match=r"cannot be written: .*No space.*free disk"):
                pool.execute()
        assert RAN == [0, 1, 2, 3]
        self.is_full, self.limit = False, 9
        run(path, self.queue)
        assert RAN[4:] == [3, 4, 5]

    def test_the_error_comes_at_the_end_of_the_run_at_the_latest(self, path, full):
        with create_job_pool(quiet=True, journal=path) as pool:
            self.queue(pool)
            with pytest.raises(JournalError, match="No space"):
                pool.execute()

    def test_the_error_is_raised_while_the_program_handles_another_one(self, path, full):
        try:
            raise ValueError
        except ValueError:
            self.test_the_error_comes_at_the_end_of_the_run_at_the_latest(path, full)

    def test_the_run_can_go_on_without_a_journal(self, path, full, caplog):
        journal = Journal(path, sync="always", on_error="continue")
        assert run(journal, self.queue)[0] == list(range(6))
        assert "No space left on device; the run goes on without a journal" in caplog.text
        self.is_full, self.limit = False, 9
        RAN.clear()
        assert run(path, self.queue)[1] == 3


def large(owner):
    return bytes(5000)


def test_a_folder_that_others_can_write_is_refused(path):
    journal = Journal(path, side_file_size=1000)
    assert run(journal, lambda pool: [pool.submit(large)]) == ([bytes(5000)], 0)
    folder = f"{path}.d"
    assert os.stat(folder).st_mode & 0o777 == 0o700
    os.chmod(folder, 0o770)
    with pytest.raises(JournalError, match=r"\.d can be written by other users.*chmod 700"):
        run(journal, lambda pool: [pool.submit(large)])
    os.chmod(folder, 0o755)
    assert run(journal, lambda pool: [pool.submit(large)]) == ([bytes(5000)], 1)


def make_open_folder(owner, folder):
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    return bytes(5000)


def test_no_results_are_written_to_a_folder_of_others(path):
    folder = f"{path}.d"
    with create_job_pool(quiet=True, journal=Journal(path, side_file_size=1000)) as pool:
        pool.submit(make_open_folder, folder)
        with pytest.raises(JournalError, match=r"can be written by other users"):
            pool.execute()
    assert os.listdir(folder) == []


def test_results_for_files_do_not_pile_up_in_memory(path, monkeypatch):
    monkeypatch.setattr(JournalWriter, "wake", lambda writer: None)  # as if its thread hung
    monkeypatch.setattr(writer_module, "MOST_WAITING", 20_000)
    written = []
    write_file = SideFiles.write

    def write(files, reference, parts, sync):
        written.append(reference["name"])
        write_file(files, reference, parts, sync)

    monkeypatch.setattr(SideFiles, "write", write)
    with create_job_pool(quiet=True, journal=Journal(path, side_file_size=1000)) as pool:
        jobs = [pool.submit(large) for _ in range(20)]
        last = pool.submit(lambda owner: len(written), key="last", deps=jobs)
        pool.execute()
        assert last.result >= 16


def test_names_keep_their_numbers_if_one_was_lost(path):
    run(path, lambda pool: [pool.submit(note, 1), pool.submit(total)])
    data = bytearray(path.read_bytes())
    data[data.index(b"note")] ^= 1  # its name is damaged, that of `total` is not
    path.write_bytes(data)
    run(path, lambda pool: [pool.submit(note, 2), pool.submit(large)])
    names = sorted(job.name for job in JournalContents(str(path)).jobs())
    assert names == ["?", "large", "note", "total"]


def test_any_error_of_the_writer_ends_the_run(path, monkeypatch):
    def no_memory(file, batch):
        raise MemoryError

    def fail_to_write(owner):
        monkeypatch.setattr(JournalFile, "append", no_memory)

    with create_job_pool(quiet=True, journal=path) as pool:
        pool.submit(fail_to_write, key="k")
        with pytest.raises(JournalError, match=r"cannot be written: MemoryError.*the run ends"):
            pool.execute()


@pytest.mark.parametrize("where", ["write", "append"])
def test_a_signal_during_a_write_loses_no_records(path, monkeypatch, where):
    """It raises in the main thread, which writes with "always"; the end of the pool goes on."""
    owner = SideFiles if where == "write" else JournalFile
    original = getattr(owner, where)
    calls = []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(owner, where, interrupted)
    monkeypatch.setattr(JournalWriter, "_write_often", lambda writer: None)  # it gets no signals
    journal = Journal(path, sync="always", side_file_size=1000)
    with create_job_pool(quiet=True, journal=journal) as pool:
        pool.queue_many(note, zip([bytes(5000 + i) for i in range(5)]))
        with pytest.raises(KeyboardInterrupt):
            pool.execute()
    contents = JournalContents(str(path))
    assert len(calls) > 3
    assert contents.problems() == []
    assert contents.n_jobs == len(RAN)


def test_the_threads_of_the_writer_start_once(path, monkeypatch):
    make = threading.Thread.__init__

    def make_slowly(thread, *args, **kwargs):
        if kwargs.get("name") == "bsbpool-journal":
            time.sleep(0.05)
        make(thread, *args, **kwargs)

    monkeypatch.setattr(threading.Thread, "__init__", make_slowly)
    file = JournalFile(str(path))
    writer = JournalWriter(file, Journal(path))
    callers = [threading.Thread(target=writer.wake) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    names = [thread.name for thread in threading.enumerate()]
    writer.close()
    file.close()
    assert names.count("bsbpool-journal") == 2


def test_an_error_of_a_thread_of_the_writer_is_kept(path, monkeypatch):
    file = JournalFile(str(path))
    writer = JournalWriter(file, Journal(path))

    def fail(batch):
        raise TypeError("no")

    monkeypatch.setattr(file, "append", fail)
    writer.buffer.add(1, 3, 0, bytes(16))
    writer.wake()
    end = time.monotonic() + 60
    while writer.error is None and time.monotonic() < end:
        time.sleep(0.01)
    assert "cannot be written: TypeError: no; the run ends" in str(writer.error)
    writer.close()
    file.close()


def test_results_that_the_program_does_not_use_are_reported(path, caplog):
    caplog.set_level(logging.INFO, "bsbpool.journals")
    run(path, lambda pool: pool.queue_many(note, zip(range(3))))
    caplog.clear()
    run(path, lambda pool: pool.queue_many(note, zip(range(1))))
    assert "has the results of 2 jobs that the program did not queue" in caplog.text
    assert "1 jobs were resumed" in caplog.text
    caplog.clear()
    assert run(path, lambda pool: pool.queue_many(note, zip(range(3))))[1] == 3
    assert "did not queue" not in caplog.text


def test_the_damage_of_a_journal_is_reported(path, caplog):
    run(path, lambda pool: pool.queue_many(note, zip(range(20))))
    data = bytearray(path.read_bytes())
    data[-300] ^= 1
    path.write_bytes(data)
    RAN.clear()
    assert run(path, lambda pool: pool.queue_many(note, zip(range(20))))[1] == 19
    assert len(RAN) == 1
    assert "is damaged from byte" in caplog.text


def test_another_python_is_reported_once(path, caplog, monkeypatch):
    play = functools.partial(run, path, lambda pool: [pool.submit(note, 1)])
    play()
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    for n in (1, 0):
        caplog.clear()
        play()
        assert caplog.text.count("was last used with Python 3.1") == n


def test_a_time_limit_keeps_what_has_ended(path):
    def slow(owner):
        threading.Event().wait(30)

    with create_job_pool(quiet=True, journal=path) as pool:
        pool.queue_many(note, zip(range(3)))
        pool.submit(slow)
        with pytest.raises(JobPoolTimeoutError):
            pool.execute(timeout=0.2)
    assert run(path, lambda pool: pool.queue_many(note, zip(range(3))))[1] == 3


def test_a_run_that_leaves_in_time_goes_on_later(path):
    def wait(owner):
        threading.Event().wait(0.02)

    with create_job_pool(quiet=True, journal=path, deadline=0.1, grace=0) as pool:
        pool.queue_many(note, zip(range(3)))
        for _ in range(40):
            pool.submit(wait)
        with pytest.raises(LeftInTime):
            pool.execute()
        ended = pool.counts[JobStatus.SUCCESS]
    assert ended < 43

    def again(pool):
        return [*pool.queue_many(note, zip(range(3))), *(pool.submit(wait) for _ in range(40))]

    assert run(path, again, deadline=None)[1] == ended


def test_a_pool_that_is_dropped_releases_its_journal(path):
    pool = create_job_pool(quiet=True, journal=path)
    pool.submit(note, 1)
    del pool
    gc.collect()
    run(path, lambda pool: [pool.submit(note, 1)])
    assert RAN == [1]
