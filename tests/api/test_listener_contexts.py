"""Listeners that are context managers, and listeners that raise."""

from __future__ import annotations

import pytest

from bsbpool import JobStatus, WorkflowError, create_job_pool

from .support import RecordingListener, fail, give, nothing, statuses


class ContextListener(RecordingListener):
    """A listener that is a context manager."""

    def __init__(self, suppress=False):
        super().__init__()
        self.visits = []
        self.suppress = suppress

    def __enter__(self):
        self.visits.append("enter")
        return self

    def __exit__(self, kind, error, traceback):
        self.visits.append(kind)
        return self.suppress


class FailingEntry(RecordingListener):
    """A listener whose `__enter__` raises."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def __enter__(self):
        raise self.error

    def __exit__(self, *error):
        raise AssertionError("left without having entered")


class Boom(Exception):
    pass


def raising(when):
    def listener(record):
        if when(record):
            raise Boom

    return listener


class TestContextManagers:
    def test_are_entered_and_left_with_the_pool(self):
        listener = ContextListener()
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        assert listener.visits == []
        with pool:
            assert listener.visits == ["enter"]
            pool.execute()
            assert listener.visits == ["enter"]
        assert listener.visits == ["enter", None]

    def test_are_entered_before_the_first_record(self):
        listener = ContextListener()
        listener.answer = lambda record: listener.visits.append("record")
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        with pool:
            pass
        assert listener.visits[:2] == ["enter", "record"]

    @pytest.mark.parametrize("suppress", [False, True])
    def test_get_an_error_but_cannot_suppress_it(self, suppress):
        listener = ContextListener(suppress)
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        with pytest.raises(Boom), pool:
            raise Boom
        assert listener.visits == ["enter", Boom]

    def test_get_the_error_of_a_failed_run(self):
        listener = ContextListener()
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        with pytest.raises(WorkflowError), pool:
            pool.submit(fail)
            pool.execute()
        assert listener.visits == ["enter", WorkflowError]

    def test_added_inside_the_block_are_not_entered(self):
        listener = ContextListener()
        with create_job_pool(quiet=True) as pool:
            pool.add_listener(listener)
            pool.execute()
        assert listener.visits == []
        assert listener.records

    @pytest.mark.parametrize("error", [TypeError(), AttributeError()], ids=type)
    def test_with_an_incomplete_protocol_are_only_called(self, error):
        listener = FailingEntry(error)
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        with pool:
            pool.execute()
        assert listener.records

    def test_whose_enter_raises_prevent_the_pool_from_opening(self):
        listener = ContextListener()
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        pool.add_listener(FailingEntry(Boom()))
        with pytest.raises(Boom):
            pool.__enter__()
        assert listener.visits == ["enter", Boom]
        assert pool.id is None


class TestErrors:
    def test_end_the_run_but_other_listeners_get_the_record(self):
        others = [ContextListener(), ContextListener()]
        pool = create_job_pool(quiet=True)
        pool.add_listener(others[0])
        pool.add_listener(raising(lambda record: record.status is JobStatus.SUCCESS))
        pool.add_listener(others[1])
        with pytest.raises(Boom), pool:
            jobs = [pool.submit(nothing) for _ in range(3)]
            pool.execute()
        assert statuses(*jobs) == ["success", "cancelled", "cancelled"]
        for other in others:
            assert other.visits == ["enter", Boom]
            assert other.steps_of(jobs[0])[-1] == "running > success"
            assert other.pool_steps[-1] == "executing > closing"

    def test_in_enter_leave_the_other_listeners(self):
        listener = ContextListener()
        pool = create_job_pool(quiet=True)
        pool.add_listener(listener)
        pool.add_listener(raising(lambda record: True))
        with pytest.raises(Boom), pool:
            pass
        assert listener.visits == ["enter", Boom]

    def test_do_not_affect_the_next_pool(self):
        with pytest.raises(Boom), create_job_pool(quiet=True) as pool:
            pool.add_listener(raising(lambda record: True))
            pool.submit(nothing)
            pool.execute()
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(give, 1)
            assert pool.execute(return_results=True) == {job: 1}

    def test_of_several_listeners_the_first_is_raised(self, pool):
        pool.add_listener(raising(lambda record: True))
        pool.add_listener(RecordingListener(lambda record: 1 / 0))
        pool.submit(nothing)
        with pytest.raises(Boom):
            pool.execute()

    def test_in_exit_do_not_prevent_the_exit_of_others(self):
        class FailingExit(ContextListener):
            def __exit__(self, *error):
                raise Boom

        listeners = [ContextListener(), FailingExit(), ContextListener()]
        pool = create_job_pool(quiet=True)
        for listener in listeners:
            pool.add_listener(listener)
        with pytest.raises(Boom), pool:
            pool.execute()
        assert [len(listener.visits) for listener in listeners] == [2, 1, 2]
        assert pool.id is None
