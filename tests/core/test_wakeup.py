"""A notification wakes a waiting rank at once, in another thread or process."""

import mmap
import os
import subprocess
import sys
import threading
import time

import pytest

from bsbpool._core.comm.wakeup import AVAILABLE, BYTES, Wakeup

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this system has no wakeup")

LONG = 20.0
"""Seconds of a wait that a test would notice."""
SOON = 5.0
"""Seconds within which a notified rank wakes, however busy the machine is."""


def make_wakeups(n=2):
    """Make the wakeups of `n` ranks over the same memory."""
    memory = bytearray(n * BYTES)
    return [Wakeup(memory, range(n), rank, n) for rank in range(n)]


def notify_until(wakeup, rank, condition):
    """Notify a rank repeatedly: a notification before the rank waits has no effect."""
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, "the sleeper did not wake"
        wakeup.notify_rank(rank)
        time.sleep(0.002)


class Sleeper(threading.Thread):
    """Waits in a thread and records the result."""

    def __init__(self, wakeup, seconds=LONG):
        super().__init__(daemon=True)
        self.wakeup, self.seconds, self.notified, self.took = wakeup, seconds, None, None
        self.start()

    def run(self):
        start = time.monotonic()
        self.notified = self.wakeup.wait(self.seconds)
        self.took = time.monotonic() - start

    def awake(self):
        return not self.is_alive()


# ------------------------------------------------------------------ threads


def test_a_notification_ends_the_wait():
    mine, theirs = make_wakeups()
    sleeper = Sleeper(mine)
    notify_until(theirs, 0, sleeper.awake)
    assert sleeper.notified is True
    assert sleeper.took < SOON


def test_without_a_notification_the_wait_times_out():
    [mine, _] = make_wakeups()
    start = time.monotonic()
    assert mine.wait(0.05) is False
    assert 0.045 < time.monotonic() - start < SOON


@pytest.mark.parametrize("seconds", [0, 1e-6])
def test_a_very_short_wait_ends(seconds):
    assert make_wakeups()[0].wait(seconds) is False


def test_a_notification_before_the_wait_has_no_effect():
    mine, theirs = make_wakeups()
    for _ in range(3):
        theirs.notify_rank(0)
    assert mine.wait(0.02) is False


def test_a_notification_wakes_only_its_rank():
    first, second, third = make_wakeups(3)
    sleepers = Sleeper(first), Sleeper(second, 0.3)
    notify_until(third, 0, sleepers[0].awake)
    assert sleepers[0].notified is True
    sleepers[1].join(SOON)
    assert sleepers[1].notified is False


def test_a_rank_can_wait_again_after_each_notification():
    mine, theirs = make_wakeups()
    for _ in range(20):
        sleeper = Sleeper(mine)
        notify_until(theirs, 0, sleeper.awake)
        assert sleeper.notified is True
    assert mine.wait(0.01) is False


def test_a_rank_may_notify_itself():
    [mine, _] = make_wakeups()
    sleeper = Sleeper(mine)
    notify_until(mine, 0, sleeper.awake)
    assert sleeper.notified is True


def test_two_ranks_notify_each_other():
    """Each rank, once notified, notifies the other."""
    n = 200
    wakeup = make_wakeups()
    turn, ended = [0], []

    def play(me):
        end = time.monotonic() + LONG
        while turn[0] < n and time.monotonic() < end:
            if turn[0] % 2 == me:
                turn[0] += 1
                wakeup[me].notify_rank(1 - me)
            else:
                wakeup[me].wait(0.01)  # the notification may come before the wait
        ended.append(me)

    threads = [threading.Thread(target=play, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert sorted(ended) == [0, 1]
    assert turn == [n]


# ------------------------------------------------------------------ ranks without a wakeup


@pytest.mark.parametrize("rank", [-(2**31), -1, 1, 3, 4, 5, 2**31 - 1])
def test_notifying_a_rank_without_a_wakeup_does_nothing(rank):
    memory = bytearray(2 * BYTES)
    mine, theirs = (Wakeup(memory, [0, 2], own, 4) for own in (0, 2))
    before = bytes(memory)
    sleeper = Sleeper(mine, 0.1)
    while sleeper.is_alive():
        theirs.notify_rank(rank)
        time.sleep(0.002)
    assert sleeper.notified is False
    assert bytes(memory) == before


def test_ranks_are_found_by_their_numbers_and_not_their_positions():
    memory = bytearray(3 * BYTES)
    views = {own: Wakeup(memory, [5, 2, 7], own, 9) for own in (5, 2, 7)}
    for own in views:
        sleeper = Sleeper(views[own])
        notify_until(views[2], own, sleeper.awake)
        assert sleeper.notified is True


@pytest.mark.parametrize(("ranks", "complete"), [([0, 1, 2], True), ([2, 0], False), ([2], False)])
def test_complete_is_true_if_all_ranks_have_a_wakeup(ranks, complete):
    wakeup = Wakeup(bytearray(3 * BYTES), ranks, 2, 3)
    assert (wakeup.n_ranks, wakeup.complete) == (3, complete)


# ------------------------------------------------------------------ processes


SLEEP = """
import mmap, sys
from bsbpool._core.comm.wakeup import Wakeup
file = open(sys.argv[1], "r+b")
wakeup = Wakeup(mmap.mmap(file.fileno(), 0), [0, 1], 1, 2)
print("ready", flush=True)
print(wakeup.wait(float(sys.argv[2])), flush=True)
"""


def sleeping_process(path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEP, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_notification_wakes_another_process(tmp_path):
    path = tmp_path / "wakeup"
    path.write_bytes(bytes(2 * BYTES))
    with path.open("r+b") as file:
        wakeup = Wakeup(mmap.mmap(file.fileno(), 0), [0, 1], 0, 2)
        with sleeping_process(path, LONG) as process:
            notify_until(wakeup, 1, lambda: process.poll() is not None)
            assert process.stdout.read() == "True\n"
        with sleeping_process(path, 0.05) as process:
            assert process.stdout.read() == "False\n"


def test_a_notification_wakes_a_fork():
    memory = mmap.mmap(-1, 2 * BYTES)
    child = os.fork()
    if child == 0:
        os._exit(3 if Wakeup(memory, [0, 1], 1, 2).wait(LONG) else 4)
    waiter = threading.Thread(target=lambda: codes.append(os.waitpid(child, 0)[1]))
    codes = []
    waiter.start()
    notify_until(Wakeup(memory, [0, 1], 0, 2), 1, lambda: codes)
    assert os.waitstatus_to_exitcode(codes[0]) == 3


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("ranks", "rank", "n_ranks"),
    [([0, 1], 2, 3), ([], 0, 1), ([0, 3], 0, 3), ([0, -1], 0, 3), ([0, 1], 0, 0)],
    ids=["own is missing", "none", "too high", "negative", "no ranks"],
)
def test_impossible_ranks_are_refused(ranks, rank, n_ranks):
    with pytest.raises(ValueError, match=r"^ranks must include"):
        Wakeup(bytearray(9 * BYTES), ranks, rank, n_ranks)


@pytest.mark.parametrize("size", [0, BYTES, 2 * BYTES - 1])
def test_too_little_memory_is_refused(size):
    with pytest.raises(ValueError, match=rf"^memory must have {BYTES} bytes for each of 2 ranks"):
        Wakeup(bytearray(size), [0, 1], 0, 2)


@pytest.mark.parametrize("memory", [bytes(2 * BYTES), memoryview(bytearray(9 * BYTES))[::2], 3])
def test_read_only_memory_is_refused(memory):
    with pytest.raises((BufferError, TypeError, ValueError)):
        Wakeup(memory, [0, 1], 0, 2)


def test_a_wakeup_is_initialised_once():
    memory = bytearray(2 * BYTES)
    wakeup = Wakeup(memory, [0, 1], 0, 2)
    with pytest.raises(RuntimeError, match="once"):
        wakeup.__init__(memory, [0, 1], 1, 2)
    assert wakeup.wait(0) is False


def test_the_memory_is_held_as_long_as_the_wakeup():
    memory = mmap.mmap(-1, BYTES)
    wakeup = Wakeup(memory, [0], 0, 1)
    with pytest.raises(BufferError):
        memory.close()
    del wakeup
    memory.close()
