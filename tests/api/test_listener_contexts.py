"""Listeners that are context managers, and listeners that raise."""

from __future__ import annotations

import pytest

from bsbpool import JobStatus, WorkflowError, create_job_pool

from .support import Notebook, fail, give, nothing, statuses


class Guest(Notebook):
    """A listener that is entered and left."""

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


class Clumsy(Notebook):
    """A listener whose entrance fails."""

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
    def test_come_and_go_with_the_pool(self):
        guest = Guest()
        pool = create_job_pool(quiet=True)
        pool.add_listener(guest)
        assert guest.visits == []
        with pool:
            assert guest.visits == ["enter"]
            pool.execute()
            assert guest.visits == ["enter"]
        assert guest.visits == ["enter", None]

    def test_are_entered_before_the_first_record(self):
        guest = Guest()
        guest.answer = lambda record: guest.visits.append("record")
        pool = create_job_pool(quiet=True)
        pool.add_listener(guest)
        with pool:
            pass
        assert guest.visits[:2] == ["enter", "record"]

    @pytest.mark.parametrize("suppress", [False, True])
    def test_hear_of_an_error_but_cannot_suppress_it(self, suppress):
        guest = Guest(suppress)
        pool = create_job_pool(quiet=True)
        pool.add_listener(guest)
        with pytest.raises(Boom), pool:
            raise Boom
        assert guest.visits == ["enter", Boom]

    def test_hear_of_a_failed_run(self):
        guest = Guest()
        pool = create_job_pool(quiet=True)
        pool.add_listener(guest)
        with pytest.raises(WorkflowError), pool:
            pool.submit(fail)
            pool.execute()
        assert guest.visits == ["enter", WorkflowError]

    def test_that_come_late_are_not_entered(self):
        guest = Guest()
        with create_job_pool(quiet=True) as pool:
            pool.add_listener(guest)
            pool.execute()
        assert guest.visits == []
        assert guest.records

    @pytest.mark.parametrize("error", [TypeError(), AttributeError()], ids=type)
    def test_that_are_none_after_all_just_listen(self, error):
        clumsy = Clumsy(error)
        pool = create_job_pool(quiet=True)
        pool.add_listener(clumsy)
        with pool:
            pool.execute()
        assert clumsy.records

    def test_whose_entrance_fails_otherwise_keep_the_pool_shut(self):
        guest = Guest()
        pool = create_job_pool(quiet=True)
        pool.add_listener(guest)
        pool.add_listener(Clumsy(Boom()))
        with pytest.raises(Boom):
            pool.__enter__()
        assert guest.visits == ["enter", Boom]
        assert pool.id is None


class TestErrors:
    def test_end_the_run_but_the_others_hear_of_the_record(self):
        others = [Guest(), Guest()]
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

    def test_at_the_entrance_are_cleaned_up_after(self):
        guest = Guest()
        pool = create_job_pool(quiet=True)
        pool.add_listener(guest)
        pool.add_listener(raising(lambda record: True))
        with pytest.raises(Boom), pool:
            pass
        assert guest.visits == ["enter", Boom]

    def test_are_no_obstacle_to_the_next_pool(self):
        with pytest.raises(Boom), create_job_pool(quiet=True) as pool:
            pool.add_listener(raising(lambda record: True))
            pool.submit(nothing)
            pool.execute()
        with create_job_pool(quiet=True) as pool:
            job = pool.submit(give, 1)
            assert pool.execute(return_results=True) == {job: 1}

    def test_of_several_the_first_comes_out(self, pool):
        pool.add_listener(raising(lambda record: True))
        pool.add_listener(Notebook(lambda record: 1 / 0))
        pool.submit(nothing)
        with pytest.raises(Boom):
            pool.execute()

    def test_in_the_exit_of_one_do_not_keep_the_others_in(self):
        class Rude(Guest):
            def __exit__(self, *error):
                raise Boom

        guests = [Guest(), Rude(), Guest()]
        pool = create_job_pool(quiet=True)
        for guest in guests:
            pool.add_listener(guest)
        with pytest.raises(Boom), pool:
            pool.execute()
        assert [len(guest.visits) for guest in guests] == [2, 1, 2]
        assert pool.id is None
