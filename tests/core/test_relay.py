"""Messages that leaders relay: their order, the loss of leaders and workers, and bad arguments."""

import time
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbpool._core.comm.channel import Channel
from bsbpool._core.comm.relay import RelayTransport
from bsbpool._core.testing.endpoint import Endpoint
from bsbpool._core.testing.inprocess_transport import InProcessNetwork

MAIN = 0
HOLD_SECONDS = 0.002
"""How long a leader may hold messages for main."""


class Ranks:
    """Ranks of one process with relayed transports, and the messages between them."""

    def __init__(self, n):
        self.n = n
        self.network = InProcessNetwork(n)
        self.relays = [RelayTransport(self.network.transport(rank), rank) for rank in range(n)]
        self.ends = [Endpoint(relay) for relay in self.relays]
        self.sent = defaultdict(list)  # by sender and receiver
        self.received = defaultdict(list)
        self.dead, self.lost = set(), defaultdict(list)
        self.count = 0

    def send(self, sender, receiver, large=False):
        if sender not in self.dead:
            self.count += 1
            self.ends[sender].send(receiver, self.count, b"large" if large else None)
            self.sent[sender, receiver].append(self.count)

    def poll(self, rank):
        """Let a rank receive one message; return whether there was one."""
        if rank in self.dead:
            return False
        found = self.ends[rank].poll()
        if found is None:
            peer = self.ends[rank].take_lost()
            if peer is not None:
                self.lost[rank].append(peer)
            return peer is not None
        peer, number = found
        assert peer not in self.lost[rank], f"rank {peer} was lost, and sends more"
        self.received[peer, rank].append(number)
        return True

    def drain(self):
        """Let all ranks receive until nothing arrives."""
        quiet = 0
        while quiet < 3:
            if any([self.poll(rank) for rank in range(self.n)]):
                quiet = 0
            else:
                quiet += 1
                time.sleep(2 * HOLD_SECONDS)

    def kill(self, rank):
        self.dead.add(rank)
        self.network.kill(rank)

    def check(self):
        """Check that all messages between living ranks have arrived, in order."""
        for (sender, receiver), numbers in self.sent.items():
            got = self.received[sender, receiver]
            if sender in self.dead or receiver in self.dead:
                assert got == numbers[: len(got)]
            else:
                assert got == numbers, (sender, receiver)
        for rank in set(range(self.n)) - self.dead:
            assert sorted(self.lost[rank]) == sorted(self.dead)


def test_main_and_its_workers_exchange_messages_through_a_leader():
    ranks = Ranks(4)
    ranks.relays[MAIN].set_leaders({2: 1, 3: 1})
    for worker in (1, 2, 3):
        ranks.send(MAIN, worker)
    assert not ranks.poll(2)  # main has not sent the bundle
    ranks.poll(MAIN)
    assert ranks.network.waiting(1) == 1
    ranks.drain()
    ranks.send(2, MAIN)
    assert (ranks.network.waiting(MAIN), ranks.network.waiting(1)) == (0, 1)
    ranks.drain()
    ranks.check()
    assert [ranks.relays[rank].leader_of(rank) for rank in (1, 2, 3)] == [None, 1, 1]
    assert ranks.relays[1].relay_partners == {2, 3}
    assert ranks.relays[2].relay_partners == {1}
    assert [relay.is_leader for relay in ranks.relays] == [False, True, False, False]


def test_a_large_message_goes_directly_and_waits_for_earlier_ones():
    ranks = Ranks(3)
    ranks.relays[MAIN].set_leaders({2: 1})
    ranks.send(MAIN, 2)
    ranks.send(MAIN, 2, large=True)
    assert ranks.network.waiting(2) == 1
    assert not ranks.poll(2)
    ranks.drain()
    ranks.check()


def test_a_leader_collects_messages_until_main_answers():
    ranks = Ranks(4)
    ranks.relays[MAIN].set_leaders({2: 1, 3: 1})
    for worker in (2, 3):
        ranks.send(MAIN, worker)
    ranks.drain()
    for _ in range(10):
        ranks.send(2, MAIN)
        ranks.send(3, MAIN)
    for _ in range(3):
        ranks.poll(1)
    assert ranks.network.waiting(MAIN) <= 2
    ranks.drain()
    ranks.check()


@pytest.mark.parametrize("died_with", ["messages of main", "messages of workers", "none"])
def test_messages_are_sent_again_when_the_leader_is_lost(died_with):
    ranks = Ranks(4)
    ranks.relays[MAIN].set_leaders({2: 1, 3: 1})
    ranks.send(MAIN, 2)
    ranks.drain()
    if died_with == "messages of main":
        ranks.send(MAIN, 2)
        ranks.send(MAIN, 3)
        ranks.poll(MAIN)
    if died_with == "messages of workers":
        ranks.send(2, MAIN)
        ranks.send(2, MAIN, large=True)
    ranks.kill(1)
    ranks.drain()
    ranks.send(MAIN, 3)
    ranks.send(2, MAIN)
    ranks.drain()
    ranks.check()
    assert ranks.relays[MAIN].leader_of(2) is None


def test_a_worker_is_lost_after_the_messages_that_its_leader_has():
    ranks = Ranks(3)
    ranks.relays[MAIN].set_leaders({2: 1})
    ranks.send(MAIN, 2)
    ranks.drain()
    ranks.send(2, MAIN)
    ranks.kill(2)
    for _ in range(5):
        ranks.poll(MAIN)
    assert (ranks.lost[MAIN], ranks.received[2, MAIN]) == ([], [])
    ranks.drain()
    assert (ranks.lost[MAIN], ranks.received[2, MAIN]) == ([2], ranks.sent[2, MAIN])


ACTIONS = st.one_of(
    st.tuples(st.just("down"), st.integers(1, 5), st.booleans()),
    st.tuples(st.just("up"), st.integers(1, 5), st.booleans()),
    st.tuples(st.just("poll"), st.integers(0, 5)),
    st.tuples(st.just("leaders"), st.integers(1, 6)),
    st.tuples(st.just("kill"), st.integers(1, 5)),
)


@given(st.lists(ACTIONS, max_size=60))
def test_messages_keep_their_order_whatever_happens(actions):
    ranks = Ranks(6)
    for kind, number, *rest in actions:
        if kind == "down":
            ranks.send(MAIN, number, *rest)
        elif kind == "up":
            ranks.send(number, MAIN, *rest)
        elif kind == "poll":
            ranks.poll(number)
        elif kind == "kill":
            ranks.kill(number)
        else:
            leaders = {rank: rank - (rank - 1) % number for rank in range(1, 6)}
            ranks.relays[MAIN].set_leaders({w: lead for w, lead in leaders.items() if w != lead})
    ranks.drain()
    ranks.check()


@pytest.mark.parametrize(
    ("leaders", "message"),
    [
        ({1: 2}, "rank 2 cannot relay messages to rank 1"),
        ({2: 2}, "rank 2 cannot relay messages to rank 2"),
        ({2: 0}, "rank 0 cannot"),
        ({4: 1}, "rank 1 cannot relay messages to rank 4"),
        ({2: 1, 3: 2}, "rank 2 cannot relay messages to rank 3"),
    ],
)
def test_leaders_that_cannot_be(leaders, message):
    with pytest.raises(ValueError, match=message):
        Ranks(4).relays[MAIN].set_leaders(leaders)


def test_only_main_sets_leaders():
    relays = Ranks(3).relays
    with pytest.raises(RuntimeError, match="this is rank 1"):
        relays[1].set_leaders({2: 1})
    with pytest.raises(ValueError, match="only its own leader"):
        relays[1].leader_of(2)
    with pytest.raises(ValueError, match="rank must be from 0 to 2, got 3"):
        RelayTransport(InProcessNetwork(3).transport(0), 3)


def test_a_channel_without_a_relay_refuses_leaders():
    relaying = Channel(InProcessNetwork(3).transport(0)).relaying
    relaying.set_leaders({})
    assert (relaying.partners, relaying.is_possible) == (set(), False)
    with pytest.raises(ValueError, match="relays no messages"):
        relaying.set_leaders({2: 1})
