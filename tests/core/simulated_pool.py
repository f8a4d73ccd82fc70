"""A slow simulator of a pool in plain Python, for comparison with the one in C.

It has the same rules and is written in another way: ranks are objects, messages are lists, and each
event is a function. The dispatcher is a `ManualEngine`. Times are in ns.
"""

import heapq
import itertools
import math
from dataclasses import dataclass, field

from bsbpool._core.testing.manual_engine import ManualEngine

RECORD, HEADER, EAGER = 32, 40, 3500
SUCCESS = 3


@dataclass
class Frame:
    """Jobs for a worker, or replies and jobs that it gives back."""

    worker: int
    jobs: list = field(default_factory=list)
    stolen: list = field(default_factory=list)
    asks: bool = False
    payload: float = 0.0

    @property
    def size(self):
        return HEADER + (RECORD + self.payload) * len(self.jobs) + RECORD * (
            len(self.stolen) + self.asks
        )


class Rank:
    """Something that waits for messages."""

    def __init__(self, pool):
        self.pool = pool
        self.inbox = []  # (time, what)
        self.waits_since = 0.0  # None: it does not wait
        self.last = {}  # by receiver: when the last message to it arrives

    def send_to(self, receiver, what, arrives):
        """Let a message arrive, but not before another one."""
        self.last[receiver] = max(arrives, self.last.get(receiver, 0.0))
        self.pool.at(self.last[receiver], receiver.take, what)

    def notices(self, net, time):
        """Return when this rank notices a message, as it has waited for some time."""
        since = self.waits_since
        polls_until = since + 5_000
        if time <= polls_until:
            return max(time, since)
        if net.wakeup >= 0:
            return time + net.wakeup
        sleep, wakes = 1_000, polls_until
        while wakes < time:
            wakes += min(sleep, 500_000)
            sleep = sleep * 2 if sleep < 500_000 else sleep
            if sleep > 500_000:
                sleep = 500_000
        return wakes

    def arrived(self, time):
        """Remove and return what has arrived until a time."""
        found = list(itertools.takewhile(lambda entry: entry[0] <= time, self.inbox))
        del self.inbox[: len(found)]
        return [what for _, what in found]


class Worker(Rank):
    """A worker, as `runtime.worker_loop` and the progress thread have it."""

    def __init__(self, pool, number, leader):
        super().__init__(pool)
        self.number, self.leader = number, leader
        self.queue, self.replies = [], []
        self.running = self.begun = self.ends = None
        self.estimate, self.polled, self.oldest = 50_000.0, 0.0, 0.0
        self.contact, self.asked = 0.0, False
        self.looks = False

    @property
    def net(self):
        return self.pool.network if self.leader is None else self.pool.local

    @property
    def partner(self):
        return self.pool.main if self.leader is None else self.leader

    @property
    def leads(self):
        return self.leader is not None and self.leader.worker is self

    def send(self, time, stolen=()):
        pool, net = self.pool, self.net
        frame = Frame(self.number, self.replies, list(stolen), payload=pool.result_bytes)
        self.replies = []
        time += pool.costs.frame
        arrives = time
        if not self.leads:
            time += pool.costs.message + net.overhead
            if self.partner.waits_since is not None and net.wakeup >= 0:
                time += net.notify
            arrives = time + net.latency + frame.size * net.gap_per_byte
        self.send_to(self.partner, frame, arrives)
        return time

    def receive(self, time, busy=False):
        while self.inbox and self.inbox[0][0] <= time:
            _, frame = self.inbox.pop(0)
            time += self.pool.costs.frame
            if not self.leads:
                time += self.pool.costs.message + self.net.overhead
            self.queue += frame.jobs
            if frame.asks:
                kept = self.queue[: 0 if busy else 1]
                stolen = self.queue[len(kept) :]
                self.queue = kept
                if stolen:
                    time = self.send(time, stolen)
        self.polled = time
        return time

    def flush(self, time):
        if self.replies:
            time = self.receive(time)
            if self.replies:
                time = self.send(time)
        return time

    def turn(self, time):
        self.waits_since = None
        if not self.queue:
            time = self.receive(time)
        if not self.queue:
            time = self.flush(time)
            if not self.queue:
                time = self.receive(time)
        if not self.queue:
            if self.inbox:
                self.pool.at(max(time, self.inbox[0][0]), self.turn)
            else:
                self.waits_since = time
            return
        if time - self.polled > 20_000 or self.estimate >= 50_000:
            if self.estimate >= 50_000:
                time = self.flush(time)
            time = self.receive(time)
        self.begin(self.queue.pop(0), time)

    def begin(self, job, time):
        pool = self.pool
        self.running, self.begun = job, time
        pool.started[job], pool.ran_on[job] = time, self.number
        end = self.ends = time + (pool.costs.worker_job + pool.run_ns[job])
        pool.at(end, self.ended)
        if end > time + 1e6 and (self.replies or self.inbox):
            self.look_later(time)

    def look_later(self, time):
        if not self.looks:
            self.looks = True
            self.pool.at(self.next_look(time), self.progress)

    def next_look(self, time):
        after = time - self.begun
        if after <= 1e6:
            return self.begun + 1e6
        if after <= 16e6:
            return self.begun + math.ceil(after / 1e6) * 1e6
        return self.begun + 16e6 + math.ceil((after - 16e6) / 4e6) * 4e6

    def progress(self, time):
        self.looks = False
        if self.running is None or time < self.begun + 1e6:
            return
        if self.replies:
            self.send(time)
        self.receive(time, busy=True)

    def ended(self, time):
        pool, job = self.pool, self.running
        self.running = None
        pool.ended[job] = time
        run = pool.run_ns[job]
        if not self.replies:
            self.oldest = time
        self.replies.append(job)
        slower = run > self.estimate
        self.estimate = run if slower else self.estimate + (run - self.estimate) / 4
        size = len(self.replies) * (RECORD + pool.result_bytes)
        if run > 50_000 or len(self.replies) >= 64 or size > EAGER or time - self.oldest > 2e5:
            time = self.flush(time)
        self.turn(time)

    def take(self, time, frame):
        self.inbox.append((time, frame))
        if self.waits_since is not None:
            wakes = self.notices(self.net, time)
            self.waits_since = None
            self.pool.at(wakes, self.turn)
        elif self.running is not None and frame.asks:
            self.look_later(time)


class Leader(Rank):
    """Forwards frames between main and its workers."""

    def __init__(self, pool):
        super().__init__(pool)
        self.worker, self.up, self.unread = None, [], False

    def take(self, time, what):
        self.inbox.append((time, what))
        if self.waits_since is not None:
            if self.worker is None or self.worker.running is None:
                net = self.pool.network if isinstance(what, list) else self.pool.local
                time = self.notices(net, time)
            self.waits_since = None
            self.plan(time)

    def plan(self, time):
        own = self.worker
        if own is not None and own.running is not None:
            time = min(own.next_look(time), own.ends)
        self.pool.at(time, self.turn)

    def turn(self, time):
        pool, costs = self.pool, self.pool.costs
        found = self.arrived(time)
        for what in found:
            if isinstance(what, list):
                time = self.down(what, time + costs.message + pool.network.overhead)
                continue
            time += costs.frame
            if pool.workers[what.worker] is not self.worker:
                time += costs.message + pool.local.overhead
            self.up.append(what)
        if not found and self.up and not self.unread:
            self.unread = pool.paced
            time = self.send_up(time)
        if found:
            self.plan(time)
        elif self.inbox:
            self.plan(max(time, self.inbox[0][0]))
        else:
            self.waits_since = time

    def read(self, time):
        """Main has read the last bundle."""
        self.unread = False
        if self.waits_since is not None and self.up:
            self.waits_since = None
            self.plan(time)

    def down(self, bundle, time):
        pool, local = self.pool, self.pool.local
        for frame in bundle:
            worker = pool.workers[frame.worker]
            time += pool.costs.frame
            arrives = time
            if worker is not self.worker:
                time += pool.costs.message + local.overhead
                if worker.waits_since is not None and local.wakeup >= 0:
                    time += local.notify
                arrives = time + local.latency + frame.size * local.gap_per_byte
            self.send_to(worker, frame, arrives)
        return time

    def send_up(self, time):
        pool, net = self.pool, self.pool.network
        bundle, self.up = self.up, []
        time += pool.costs.message + net.overhead
        if pool.main.waits_since is not None and net.wakeup >= 0:
            time += net.notify
        arrives = time + net.latency + size_of(bundle) * net.gap_per_byte
        self.send_to(pool.main, bundle, arrives)
        return time


class Main(Rank):
    """The main rank's loop."""

    def __init__(self, pool):
        super().__init__(pool)
        self.waits_since = None
        self.nic_in = self.nic_out = 0.0
        self.n_read, self.n_waits, self.next_steal = 0, 0, 0.0

    def take(self, time, what):
        net = self.pool.network
        taken = max(size_of(what) * net.gap_per_byte, net.gap)
        self.nic_in = max(time, self.nic_in + taken)
        self.inbox.append((self.nic_in, what))
        if self.waits_since is not None:
            wakes = self.notices(net, self.nic_in)
            self.waits_since = None
            self.pool.at(wakes, self.turn)

    def turn(self, time):
        pool, begin, read = self.pool, time, 0
        while self.inbox and self.n_read < 64 and self.inbox[0][0] <= begin:
            self.n_read, read = self.n_read + 1, read + 1
            time = self.read(self.inbox.pop(0)[1], time)
        if read:
            if pool.engine.unfinished:
                pool.at(time, self.turn)
            else:
                pool.makespan = time
            return
        sent = pool.n_sent
        time = self.dispatch(time + pool.costs.round)
        busy, self.n_read = self.n_read, 0
        if busy or pool.n_sent > sent:
            pool.at(time, self.turn)
        else:
            self.wait(time)

    def read(self, what, time):
        pool = self.pool
        time += pool.costs.message + pool.network.overhead
        for frame in what if isinstance(what, list) else [what]:
            worker = pool.workers[frame.worker]
            worker.contact, worker.asked = time, False
            time += pool.costs.main_frame
            for job in frame.jobs:
                time += pool.costs.job_done
                pool.engine.done(frame.worker, job, SUCCESS, pool.run_ns[job])
            for job in frame.stolen:
                time += pool.costs.job_done
                pool.engine.give_back(frame.worker, job)
        if pool.paced and isinstance(what, list):
            pool.at(time + pool.network.latency, pool.workers[what[0].worker].leader.read)
        return time

    def dispatch(self, time):
        pool, frames, bundles = self.pool, {}, {}
        for _, worker, job in pool.engine.assign():
            time += pool.costs.job_sent
            frame = frames.get(worker)
            if frame is None:
                frame = frames[worker] = Frame(worker, payload=pool.argument_bytes)
            frame.jobs.append(job)
            if frame.size >= EAGER:
                frames[worker] = None
                time = self.put(frame, bundles, time)
        return self.flush(filter(None, frames.values()), bundles, time)

    def flush(self, frames, bundles, time):
        for frame in frames:
            time = self.put(frame, bundles, time)
        for leader, bundle in bundles.items():
            time = self.post(leader, bundle, time)
        return time

    def put(self, frame, bundles, time):
        worker = self.pool.workers[frame.worker]
        time += self.pool.costs.main_frame
        worker.contact = time
        if worker.leader is None:
            return self.post(worker, frame, time)
        bundles.setdefault(worker.leader, []).append(frame)
        return time

    def post(self, receiver, what, time):
        pool, net = self.pool, self.pool.network
        pool.n_sent += 1
        time += pool.costs.message + net.overhead
        if receiver.waits_since is not None and net.wakeup >= 0:
            time += net.notify
        begin = max(time, self.nic_out)
        taken = size_of(what) * net.gap_per_byte
        self.nic_out = begin + max(taken, net.gap)
        pool.at(begin + net.latency + taken, receiver.take, what)
        return time

    def wait(self, time):
        pool, begin = self.pool, time
        self.n_waits += 1
        if self.can_steal():
            if time >= self.next_steal:
                self.next_steal = time + 1e6
                time += pool.costs.scan * len(pool.workers)
                silent = [w for w in pool.workers if self.is_silent(w, begin)]
                for worker in silent:
                    worker.asked = True
                frames = [Frame(worker.number, asks=True) for worker in silent]
                time = self.flush(frames, {}, time)
            pool.at(begin + 1e6, self.steal_time, self.n_waits)
        if self.inbox:
            pool.at(max(time, self.inbox[0][0]), self.turn)
        else:
            self.waits_since = time

    def can_steal(self):
        held = [self.pool.engine.n_in_queue(worker.number) for worker in self.pool.workers]
        return self.pool.engine.ready == 0 and 0 in held and max(held) > 1

    def has_more(self, worker):
        """Whether jobs wait behind the first one of a worker."""
        return self.pool.engine.n_in_queue(worker.number) > 1

    def is_silent(self, worker, now):
        return self.has_more(worker) and not worker.asked and now - worker.contact >= 1e6

    def steal_time(self, time, number):
        if self.waits_since is not None and number == self.n_waits:
            self.waits_since = None
            self.pool.at(time, self.turn)


class Engine(ManualEngine):
    """An engine that tells how many jobs a worker holds."""

    held: dict

    def n_in_queue(self, worker):
        return self.held.get(worker, 0)

    def assign(self):
        actions = super().assign()
        for _, worker, _ in actions:
            self.held[worker] = self.held.get(worker, 0) + 1
        return actions

    def done(self, worker, job, outcome, run_ns):
        self.held[worker] -= 1
        super().done(worker, job, outcome, run_ns)

    def give_back(self, worker, job):
        self.held[worker] -= 1
        super().give_back(worker, job)


def size_of(what):
    if isinstance(what, list):
        return HEADER + sum(frame.size for frame in what)
    return what.size


class Pool:
    """A simulated run; parameters as of `Simulator`."""

    def __init__(
        self, sizes, leaders_work, run_ns, deps, costs, network, local, payload, paced=False
    ):
        self.paced = paced
        self.costs, self.network, self.local = costs, network, local
        self.argument_bytes, self.result_bytes = payload
        self.run_ns, self.n_sent, self.makespan = run_ns, 0, None
        self.started, self.ended, self.ran_on = {}, {}, {}
        self.events, self.order = [], itertools.count()
        self.main, self.workers, self.leaders = Main(self), [], []
        for size, works in zip(sizes, leaders_work or [None] * len(sizes), strict=True):
            leader = None if works is None else Leader(self)
            for k in range(size):
                self.workers.append(Worker(self, len(self.workers), leader))
                if works and k == 0:
                    leader.worker = self.workers[-1]
        self.engine = Engine()
        self.engine.held = {}
        self.engine.open_workers(len(self.workers))
        for needed in deps:
            self.engine.submit(deps=needed)

    def at(self, time, call, *args):
        heapq.heappush(self.events, (time, next(self.order), call, args))

    def run(self):
        self.engine.start_run()
        self.at(0.0, self.main.turn)
        while self.makespan is None:
            time, _, call, args = heapq.heappop(self.events)
            call(time, *args)
