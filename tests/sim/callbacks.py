"""The callbacks of the loops: jobs are numbers, and the ledger records what happens to them."""

import struct
from collections import Counter

from bsbpool._core.protocol.scalar_codec import dumps, loads
from bsbpool._core.protocol.wire import RecordFlag, ReplyFlag
from bsbpool._core.scheduling.status import Status
from sim.oracle import arguments, filling, value_of
from sim.plan import MS

FAILED, OK, SKIPPED = 0, 1, 2
IDLE_NS = 20 * MS
"""For how long a worker may have nothing to do while others could give it something ..."""
IDLE_LATENCIES = 200
"""... and what messages take comes on top: some take 64 times as long."""


class AllLostError(Exception):
    """No worker is left."""


class MainDiedError(Exception):
    """Rank 0 has died."""


class DiedError(BaseException):
    """This rank has died in the middle of a job."""


class JobError(Exception):
    """A job fails."""


class MainCallbacks:
    """What main knows of one pool."""

    def __init__(self, world, ledger, spec):
        self.world = world
        self.ledger = ledger
        self.spec = spec
        self.engine = ledger.engine
        self.results = {}
        self.to_evict = []
        self.n_sent = Counter()
        self.stopped = False
        self.idle_since = None

    # What is sent

    def encode_job(self, number):
        self.world.network.step(0)
        job = self.spec.jobs[number]
        self.n_sent[number] += 1
        if job.unsendable:
            self.ledger.note("reply", number, Status.FAILED)
            return None
        if self.spec.evicts and number % self.spec.evicts == 0:
            self.to_evict.append(number % 3)
        args = arguments(number, job, self.results)
        if self.spec.direct and not (job.size or job.result_size or job.items):
            data = dumps(args)
            if data is not None:
                flags = int(RecordFlag.SCALARS | RecordFlag.ONLY_ARGS)
                return job.function, flags, data, ()
        buffers = [memoryview(filling(number, job.size))] if job.size else []
        return job.function, 0, repr(args).encode(), buffers

    def encode_function(self, number):
        return 0, b"%d" % number, ()

    def required_functions(self, number):
        return ()

    def take_evicted(self):
        evicted, self.to_evict = self.to_evict, []
        return evicted

    # What comes

    def store_reply(self, number, flags, payload, buffers, seconds):
        outcome = flags & ReplyFlag.OUTCOME_BITS
        self.ledger.replied(number, outcome)
        if outcome != OK:
            return
        if flags & RecordFlag.SCALARS:
            self.results[number] = loads(payload)
            return
        self.results[number] = value = struct.unpack("<I", payload)[0]
        size = self.spec.jobs[number].result_size
        got = [bytes(buffer) for buffer in buffers]
        if got != ([filling(value, size)] if size else []):
            raise AssertionError(f"the buffers of job {number}'s result are not its own")

    def rank_lost(self, rank, jobs):
        self.ledger.lost(rank, jobs)

    def rank_left(self, rank, reason):
        raise AssertionError(f"rank {rank} left: {bytes(reason)}")

    # The run

    def process_events(self):
        engine, world = self.engine, self.world
        if self.stopped:
            return True
        if self.ledger.due:
            return False
        if engine.unfinished == 0:
            return True
        if len(world.channel.lost) == world.plan.workers:
            raise AllLostError
        if engine.idle:
            raise AssertionError("jobs wait for what will never happen")
        self.check_idle()
        return False

    def check_idle(self):
        """No worker is idle for long while a job is ready, or waits behind another's."""
        engine, world = self.engine, self.world
        counts = engine.counts()
        unknown = any(
            engine.running_job(rank - 1) is not None and world.network.is_dead(rank)
            for rank in range(1, world.plan.workers + 1)
        )
        free = [
            rank
            for rank in range(1, world.plan.workers + 1)
            if rank not in world.channel.lost | world.channel.away
            and engine.running_job(rank - 1) is None
        ]
        stuck = world.plan.tracked and not unknown  # behind a dead rank's job they may well be
        if not (counts[Status.QUEUED] and free) or not (stuck or self.has_ready()):
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = world.network.clock
        elif world.network.clock - self.idle_since > IDLE_NS + IDLE_LATENCIES * world.plan.latency:
            raise AssertionError(f"ranks {free} idle; {counts[Status.QUEUED]} jobs could run there")

    def has_ready(self):
        engine = self.engine
        return any(
            engine.status(job) is Status.QUEUED and not engine.is_sent(job)
            for job in range(len(engine))
        )

    def timeout(self):
        return 60.0


class WorkerCallbacks:
    """A worker in one pool."""

    def __init__(self, world, number, rank):
        self.world = world
        self.spec = world.plan.pools[number]
        self.number = number
        self.rank = rank
        self.needs = set()
        self.loop = None
        self.scratch = bytearray(1 << 16)

    def load_function(self, flags, payload, buffers):
        function = int(bytes(payload))

        def call(owner, *args):
            return self.call(function, args)

        return (call, 0) if self.spec.direct else (call, 1)

    def run_job(self, number, function, flags, payload, buffers):
        if flags & RecordFlag.SCALARS:
            args = loads(bytes(payload))
        else:
            args = tuple(map(int, bytes(payload).strip(b"(),").split(b",")))
        if args[0] != number:
            raise AssertionError(f"job {number} got the arguments of job {args[0]}")
        try:
            value = function[0](None, *args)
        except JobError as error:
            return self.job_failed(number, function, error)
        if buffers:
            value = self.value_of_buffers(args, buffers)
        size = self.spec.jobs[number].result_size
        if not size:
            return OK, struct.pack("<I", value), ()
        # The next job will use this memory again.
        self.scratch[:size] = filling(value, size)
        return OK, struct.pack("<I", value), [memoryview(self.scratch)[:size]]

    def value_of_buffers(self, args, buffers):
        job = self.spec.jobs[args[0]]
        if [bytes(buffer) for buffer in buffers] != [filling(args[0], job.size)]:
            raise AssertionError(f"job {args[0]} got buffers that are not its own")
        return value_of(args, bytes(buffers[0]))

    def call(self, function, args):
        """Run a job: it takes its time, and its rank may die meanwhile."""
        number = args[0]
        job = self.spec.jobs[number]
        if job.function != function:
            raise AssertionError(f"job {number} came with function {function}")
        missing = {self.world.token(self.number, item) for item in job.items} - self.needs
        if missing:
            raise AssertionError(f"job {number} runs without items {missing}")
        self.world.begin(self.number, self.rank, number)
        self.busy(job.takes)
        self.world.ended(self.number, self.rank, number)
        if job.fails:
            raise JobError
        return value_of(args)

    def busy(self, ns):
        network, slice_ns = self.world.network, MS
        for part in (ns // 2, ns - ns // 2):
            left = part
            while self.world.plan.tracked and left > slice_ns:
                self.live(network.rest(self.rank, slice_ns))
                self.loop.make_progress()
                left -= slice_ns
                slice_ns = min(slice_ns * 2, 4 * MS)
            self.live(network.rest(self.rank, left))
            self.world.halfway(self.rank)
            self.live(not network.is_dead(self.rank))

    def live(self, lives):
        if not lives:
            raise DiedError

    def job_failed(self, number, function, error):
        if not isinstance(error, JobError):
            raise error
        return FAILED, b"", ()

    def pack_result(self, value):
        return struct.pack("<I", value), ()

    def main_lost(self, rank):
        raise MainDiedError

    def items_needed(self, tokens):
        self.loop.direct = False
        self.needs.update(tokens)

    def items_unneeded(self, tokens):
        self.needs.difference_update(tokens)
