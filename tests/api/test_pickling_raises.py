"""In one process, an error while an object is pickled or unpickled fails its job or its call."""

from __future__ import annotations

import os
import signal

import pytest

from bsbpool import JobStatus, WorkflowError, create_job_pool
from bsbpool.futures import PoolExecutor
from bsbpool.process import is_from_signal, marking_signals

from .support import give, nothing, statuses


class Ends(BaseException):
    """A BaseException that is not an Exception."""


KINDS = [SystemExit, KeyboardInterrupt, GeneratorExit, Ends]


def explode(kind):
    raise kind("exploded")


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


class Bad:
    def __init__(self, when, kind):
        self.when, self.kind = when, kind

    def __reduce__(self):
        if self.when == "pickled":
            explode(self.kind)
        return explode, (self.kind,)


class Interrupting:
    def __reduce__(self):
        ctrl_c()
        return int, ()


def bad(when, kind):
    return Bad(when, kind)


def square(x):
    return x * x


@pytest.mark.parametrize("paced", [False, True], ids=["direct", "paced"])
@pytest.mark.parametrize("when", ["pickled", "unpickled"])
def test_an_unpicklable_result_under_max_memory_fails_only_its_job(when, paced):
    with create_job_pool(quiet=True, max_memory=0) as pool:
        if paced:
            pool.add_listener(lambda progress: None, max_wait=10)
        jobs = [pool.submit(give, Bad(when, kind)) for kind in KINDS]
        by_hand = pool.submit(nothing)
        by_hand.set_result(Bad(when, SystemExit))
        good = pool.submit(give, [1] * 1_000)
        with pytest.raises(WorkflowError) as caught:
            pool.execute(return_results=True)
        assert statuses(*jobs, by_hand) == ["failed"] * 5
        assert [type(job.error) for job in jobs] == KINDS
        assert "result" in jobs[0].error.__notes__[0]
        assert len(caught.value.exceptions) == 5
        assert good.result == [1] * 1_000


def test_a_result_under_max_memory_that_cannot_be_unpickled_is_kept(caplog):
    value = Bad("unpickled", ValueError)
    with create_job_pool(quiet=True, max_memory=0) as pool:
        job = pool.submit(give, value)
        assert pool.execute(return_results=True) == {job: value}
        assert job.result is value
    assert "max_memory" in caplog.text


def test_results_that_cannot_be_read_back_fail_only_their_jobs():
    with create_job_pool(quiet=True, max_memory=0) as pool:
        first = pool.submit(give, [1] * 1_000)
        lost = pool.submit(lambda owner: [2] * 1_000)
        pool.submit(lambda owner: os.ftruncate(pool._store._file.fileno(), pool._store.spilled - 9))
        with pytest.raises(WorkflowError) as caught:
            pool.execute(return_results=True)
        assert (first.status, lost.status) == (JobStatus.SUCCESS, JobStatus.FAILED)
        assert first.result == [1] * 1_000
        assert caught.value.exceptions[0].error is lost.error
        assert isinstance(lost.error, OSError)


def test_ctrl_c_while_a_result_is_pickled_ends_the_run():
    with create_job_pool(quiet=True, max_memory=0) as pool:
        before = signal.getsignal(signal.SIGINT)
        pool.submit(give, Interrupting())
        after = pool.submit(nothing)
        with pytest.raises(KeyboardInterrupt):
            pool.execute()
        assert after.status is JobStatus.CANCELLED
        assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("kind", [*KINDS, ValueError])
def test_submit_and_map_report_a_result_that_cannot_be_unpickled(kind):
    with PoolExecutor() as executor:
        error = executor.submit(bad, "unpickled", kind).exception()
        with pytest.raises(kind) as caught:
            next(executor.map(bad, ["unpickled"], [kind]))
        for raised in (error, caught.value):
            assert type(raised) is kind
            assert raised.__notes__ == ["The result of the call cannot be unpickled on this rank."]
        assert executor.submit(square, 3).result() == 9


class TakesNoNotes(Exception):
    def add_note(self, note):
        raise RuntimeError(note)


def test_an_error_that_accepts_no_notes_is_unchanged():
    with PoolExecutor() as executor:
        assert type(executor.submit(bad, "unpickled", TakesNoNotes).exception()) is TakesNoNotes
        with pytest.raises(TakesNoNotes):
            next(executor.map(bad, ["unpickled"], [TakesNoNotes]))


@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_items_and_functions_of_a_map_are_raised_at_their_position(kind):
    with PoolExecutor() as executor:
        results = executor.map(square, [2, Bad("pickled", kind), 3])
        assert next(results) == 4
        with pytest.raises(kind):
            next(results)
        results = executor.map(Bad("pickled", kind).__eq__, [1])
        with pytest.raises(kind):
            next(results)


def test_ctrl_c_while_items_are_pickled_is_raised_at_once():
    with PoolExecutor() as executor, pytest.raises(KeyboardInterrupt):
        executor.map(square, [Interrupting()])


def test_only_errors_of_handlers_are_treated_as_signals():
    handler = signal.getsignal(signal.SIGINT)
    with marking_signals():
        assert not is_from_signal(KeyboardInterrupt())
        with marking_signals(), pytest.raises(KeyboardInterrupt) as caught:
            ctrl_c()
        assert is_from_signal(caught.value)
    assert is_from_signal(KeyboardInterrupt())  # the cause cannot be known
    assert not is_from_signal(SystemExit())
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_handler_that_is_set_meanwhile_is_kept():
    before = signal.getsignal(signal.SIGINT)
    try:
        with marking_signals():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
