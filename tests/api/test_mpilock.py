"""The lock of a single process: granted at once, with the API of mpilock."""

from __future__ import annotations

import sys

import pytest

from bsbpool import services
from bsbpool.services.mpilock import (
    Fence,
    FencedSignal,
    MockedWindowController,
    MPILockModule,
    NativeLockModule,
    lock_module,
)


@pytest.fixture
def lock():
    return MPILockModule("no_such_package")


class TestModule:
    def test_is_mpilock_if_that_is_installed_and_chosen(self, monkeypatch):
        json = MPILockModule("json")
        assert json is sys.modules["json"]
        mpilock = pytest.importorskip("mpilock")
        monkeypatch.setenv("BSBPOOL_LOCK", "mpilock")
        assert lock_module() is mpilock

    def test_is_the_native_lock_by_default(self):
        assert isinstance(services.MPILock, NativeLockModule)
        assert {"Fence", "FencedSignal", "WindowController"} <= set(dir(services.MPILock))
        with pytest.raises(AttributeError, match="no attribute 'missing'"):
            services.MPILock.missing  # noqa: B018

    def test_an_unknown_lock_is_refused(self, monkeypatch):
        monkeypatch.setenv("BSBPOOL_LOCK", "flock")
        with pytest.raises(ValueError, match="'flock'; set it to 'native' or 'mpilock'"):
            lock_module()

    def test_one_process_gets_a_lock_that_grants_at_once(self):
        with NativeLockModule().sync(master=0) as controller, controller.write():
            assert isinstance(controller, MockedWindowController)

    def test_is_marked_as_a_replacement(self, lock):
        assert lock._mocked is True
        assert lock.sync()._mocked is True
        assert lock.sync().read()._mocked is True

    def test_has_the_names_of_mpilock(self, lock):
        assert lock.Fence is Fence
        assert lock.FencedSignal is FencedSignal
        assert isinstance(lock.sync(), lock.WindowController)

    @pytest.mark.parametrize("args", [(), (None,), (None, 0)])
    def test_makes_controllers_by_sync_and_by_a_call(self, lock, args):
        for make in (lock.sync, lock):
            controller = make(*args)
            assert (controller.master, controller.rank, controller.closed) == (0, 0, False)


class TestController:
    def test_closes(self, lock):
        controller = lock.sync()
        controller.close()
        assert controller.closed
        with lock.sync() as controller:
            assert not controller.closed
        assert controller.closed

    @pytest.mark.parametrize("kind", ["read", "write"])
    def test_grants_at_once_and_yields_none(self, lock, kind):
        held = getattr(lock.sync(), kind)()
        assert not held.locked()
        with held as given:
            assert given is None
            assert held.locked()
        assert not held.locked()

    def test_grants_one_inside_the_other(self, lock):
        controller = lock.sync()
        with controller.read(), controller.write(), controller.write(), controller.read():
            pass

    @pytest.mark.parametrize("kind", ["read", "write", "single_write"])
    def test_errors_are_raised(self, lock, kind):
        with pytest.raises(ZeroDivisionError), getattr(lock.sync(), kind)():
            1 / 0  # noqa: B018


class TestSingleWrite:
    def test_the_master_executes_the_block(self, lock):
        worked = []
        with lock.sync().single_write() as fence:
            fence.guard()
            worked.append(1)
        assert worked == [1]

    @pytest.mark.parametrize(("master", "rank"), [(0, 1), (1, None)])
    def test_other_ranks_skip_the_block(self, lock, master, rank):
        worked = []
        with lock.sync(master=master).single_write(rank=rank) as fence:
            worked.append("before")
            fence.guard()
            worked.append("after")
        assert worked == ["before"]

    def test_shares_the_created_object(self, lock):
        with lock.sync().single_write() as fence:
            fence.guard()
            fence.share("made")
        assert fence.collect() == "made"

    @pytest.mark.parametrize(("rank", "expected"), [(None, "handle"), (0, "handle"), (1, None)])
    def test_gives_the_handle_to_the_writer(self, lock, rank, expected):
        # mpilock does not enter it, so it may be any object.
        with lock.sync().single_write(handle="handle", rank=rank) as given:
            assert given == expected

    def test_a_separate_fence(self):
        with Fence(False) as fence:
            fence.guard()
            raise AssertionError("went on")
        with pytest.raises(FencedSignal):
            Fence(False).guard()
        assert Fence(True).guard() is None
