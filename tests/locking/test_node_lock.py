"""The lock of a node: every interleaving of a few processes, on the compiled code."""

from __future__ import annotations

import pytest

from bsbpool._core.locking.node_lock import HEAD_BYTES, SLOT_BYTES, NodeLock

READ, WRITE = False, True


class Node:
    """Processes of a node, without processes: locks of several slots on one page.

    A global lock that is granted at once stands for the other nodes.
    """

    def __init__(self, n: int, two_level: bool = False) -> None:
        self.memory = bytearray(HEAD_BYTES + n * SLOT_BYTES)
        self.locks = [NodeLock(self.memory, slot, n, 0, two_level) for slot in range(n)]
        self.two_level = two_level

    def states(self) -> dict[int, str]:
        return {slot: state for slot, state, _ in self.locks[0].states()}

    def release(self, slot: int) -> None:
        if self.locks[slot].release():
            self.locks[slot].end_give_back()

    def take_global(self) -> None:
        for slot, state in self.states().items():
            lock = self.locks[slot]
            if lock.needs_global:
                if lock.begin_to_give_back():
                    lock.end_give_back()
                lock.take_global(state == "writes")

    def check(self, died: bool) -> None:
        """Check what must be true between two steps."""
        states = self.states()
        readers = [slot for slot, state in states.items() if state == "reads"]
        writers = [slot for slot, state in states.items() if state == "writes"]
        assert len(writers) <= 1, states
        assert not (readers and writers), states
        exclusive = [slot for slot in states if self.locks[slot].holds and slot not in readers]
        waiting = [slot for slot in states if not self.locks[slot].holds]
        assert self.locks[0].counters() == (
            exclusive[0] + 1 if exclusive else 0,
            len(readers),
            sum(states[slot] == "waits to write" for slot in waiting),
            sum(states[slot] == "waits to read" for slot in waiting),
        )
        assert exclusive or readers or not waiting, f"nobody has the lock, but {states}"
        if self.two_level:
            assert not readers or self.locks[0].global_mode == "read"
            given_back = self.locks[0].global_mode == ""
            assert states or died or given_back, "the global lock was not given back"
            assert self.locks[0].left_over == (not states and not given_back)


def explore(node: Node, scripts: list[list[bool]], deaths: int) -> int:
    """Run all interleavings of processes that read and write; return how many states there are."""
    seen = set()
    # A state of the search: memory, how far each process is, which are dead, deaths that are left.
    todo = [(bytes(node.memory), (0,) * len(scripts), frozenset(), deaths)]
    while todo:
        memory, at, dead, left = todo.pop()
        node.memory[:] = memory
        node.take_global()
        node.check(bool(dead))
        states = node.states()
        writes_in_a_row = bytes(node.memory[20:24])
        key = (tuple(sorted(states.items())), at, dead, left, order(node), writes_in_a_row)
        key = (*key, node.locks[0].global_mode)
        if key in seen:
            continue
        seen.add(key)
        memory = bytes(node.memory)
        moved = False
        for slot, script in enumerate(scripts):
            if slot in dead:
                continue
            node.memory[:] = memory
            lock = node.locks[slot]
            if slot not in states:
                if at[slot] == len(script):
                    continue
                lock.request(script[at[slot]])
                progress = at
            elif lock.holds:
                node.release(slot)
                progress = (*at[:slot], at[slot] + 1, *at[slot + 1 :])
            else:
                continue
            moved = True
            todo.append((bytes(node.memory), progress, dead, left))
        for slot in set(states) - dead if left else ():
            node.memory[:] = memory
            node.locks[(slot + 1) % len(scripts)].abandon(slot)
            todo.append((bytes(node.memory), at, dead | {slot}, left - 1))
            if not node.locks[slot].holds and slot in states:
                node.memory[:] = memory
                if not node.locks[slot].cancel():
                    progress = (*at[:slot], at[slot] + 1, *at[slot + 1 :])
                    todo.append((bytes(node.memory), progress, dead, left))
        waiting = [slot for slot in states if not node.locks[slot].holds]
        assert moved or not waiting, f"{states} for ever"
    return len(seen)


def order(node: Node) -> tuple[int, ...]:
    """Return the slots in the order of their requests."""
    tickets = []
    for slot in node.states():
        start = HEAD_BYTES + slot * SLOT_BYTES + 8
        tickets.append((int.from_bytes(node.memory[start : start + 8], "little"), slot))
    return tuple(slot for _, slot in sorted(tickets))


@pytest.mark.parametrize("two_level", [False, True])
@pytest.mark.parametrize(
    "scripts",
    [
        [[WRITE, READ], [WRITE, READ], [READ, WRITE]],
        [[READ, READ], [READ, WRITE], [WRITE, WRITE]],
        [[WRITE], [WRITE], [READ], [READ]],
        [[WRITE] * 11, [READ], [WRITE] * 11],
    ],
)
def test_all_interleavings(scripts, two_level) -> None:
    assert explore(Node(len(scripts), two_level), scripts, deaths=1) > 100


def test_writers_go_first_in_the_order_of_their_requests() -> None:
    node = Node(5)
    node.locks[0].request(READ)
    for slot, write in ((3, WRITE), (1, READ), (2, WRITE), (4, READ)):
        assert not node.locks[slot].request(write)
    order = []
    node.release(0)
    for _ in range(2):
        (writer,) = (slot for slot, state in node.states().items() if state == "writes")
        order.append(writer)
        node.release(writer)
    assert order == [3, 2]
    assert node.states() == {1: "reads", 4: "reads"}


def test_readers_wait_for_a_bounded_number_of_writes() -> None:
    node = Node(3)
    node.locks[0].request(WRITE)
    node.locks[2].request(READ)
    writer, other, n = 0, 1, 0
    while node.states()[2] != "reads":
        node.locks[other].request(WRITE)
        node.release(writer)
        writer, other, n = other, writer, n + 1
        assert n < 20
    assert n == 9  # the first had begun when the reader asked


def test_memory_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="2 processes needs 192"):
        NodeLock(bytearray(100), 0, 2, 0)
    with pytest.raises(ValueError, match="slot: 2"):
        NodeLock(bytearray(1000), 2, 2, 0)


def test_cancelling_a_request() -> None:
    node = Node(2)
    node.locks[0].request(WRITE)
    node.locks[1].request(READ)
    assert not node.locks[1].cancel()
    assert node.states() == {0: "writes"}
    node.release(0)
    node.check(False)


def test_a_second_request_of_a_process_is_refused() -> None:
    node = Node(2)
    node.locks[0].request(WRITE)
    with pytest.raises(RuntimeError, match="Two threads"):
        node.locks[0].request(READ)
    node.locks[1].request(READ)
    with pytest.raises(RuntimeError, match="Two threads"):
        node.locks[1].request(READ)
    node.check(False)
