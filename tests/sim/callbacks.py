"""The callbacks of the loops in a simulation. They report the events of jobs to the history."""

import struct
import sys
from collections import Counter

from bsbpool._core.protocol.scalar_codec import dumps, loads
from bsbpool._core.protocol.wire import RecordFlag, ReplyFlag
from bsbpool._core.scheduling.status import Status
from sim.oracle import arguments, data_of, filling, value_of, values
from sim.plan import LARGE, MS

FAILED, OK, SKIPPED = 0, 1, 2
IDLE_NS = 20 * MS
"""A worker may be idle for this long while a job could run on it ..."""
IDLE_LATENCIES = 200
"""... plus this many latencies, as some messages take 64 times as long."""

NOTICE_NS = 25 * MS
"""A waiting worker notices the death of its leader within 20 ms."""


class AllLostError(Exception):
    """All workers have died."""


class MainDiedError(Exception):
    """Rank 0 has died."""


class RankDiedError(BaseException):
    """This rank has died inside a job."""


class JobError(Exception):
    """The planned failure of a job."""


class JobInterruptedError(JobError):
    """The job was interrupted."""


class MainCallbacks:
    """The callbacks of the main rank for one pool."""

    def __init__(self, simulation, history, pool):
        self.simulation = simulation
        self.history = history
        self.pool = pool
        self.engine = history.engine
        self.results = {}
        self.to_evict = []
        self.n_sent = Counter()
        self.stopped = False
        self.idle_since = None

    # Sending

    def encode_job(self, number, worker):
        self.simulation.network.step(0)
        job = self.pool.jobs[number]
        self.n_sent[number] += 1
        if job.unsendable:
            self.history.log_event("reply", number, Status.FAILED)
            return None
        if self.pool.evict_every and number % self.pool.evict_every == 0:
            self.to_evict.append(number % 3)
        args = arguments(number, job, self.results)
        needed = data_of(job, self.pool.jobs)
        keys = self.require_data(needed, worker)
        if len(keys) < len(needed):
            self.history.log_event("reply", number, Status.FAILED)
            return None
        if self.pool.direct and not (job.size or job.result_size or job.items or job.takes):
            data = dumps(args)
            if data is not None:
                flags = int(RecordFlag.SCALARS | RecordFlag.ONLY_ARGS)
                return job.function, flags, data, ()
        buffers = [memoryview(filling(number, job.size))] if job.size else []
        return job.function, 0, repr((*args, *keys)).encode(), buffers

    def require_data(self, needed, worker):
        """Let a worker get data; return their keys, or none if some do not exist any more."""
        data = self.loop.data
        for dep in needed:
            if dep not in data and not self.pool.jobs[dep].stays:
                data.add_own(dep)
            if dep not in data:
                # Lost with a rank, or dropped before this job was submitted.
                assert self.history.dead or any(job.at for job in self.pool.jobs)
                return []
        keys = []
        for dep in needed:
            data.require(dep, worker)
            keys.append(data.key_of(dep))
        return keys

    def data_parcel(self, number):
        job = self.pool.jobs[number]
        if job.stays or number not in self.results:
            return None
        value = self.results[number]
        return struct.pack("<I", value), [memoryview(filling(value, job.result_size))]

    def encode_function(self, number):
        return 0, b"%d" % number, ()

    def required_functions(self, number):
        return ()

    def take_evicted(self):
        evicted, self.to_evict = self.to_evict, []
        return evicted

    # Receiving

    def store_reply(self, number, flags, payload, buffers, seconds):
        outcome = flags & ReplyFlag.OUTCOME_BITS
        retries = self.history.reply_received(number, outcome)
        if outcome != OK:
            return retries
        if flags & RecordFlag.SCALARS:
            self.results[number] = loads(payload)
            return False
        if flags & ReplyFlag.STAYED:
            size = int.from_bytes(bytes(payload), sys.byteorder)
            assert size == 4 + self.pool.jobs[number].result_size
            self.results[number] = values(self.pool.jobs)[number]  # of which main has nothing
            return None
        self.results[number] = value = struct.unpack("<I", payload)[0]
        size = self.pool.jobs[number].result_size
        got = [bytes(buffer) for buffer in buffers]
        if got != ([filling(value, size)] if size else []):
            raise AssertionError(f"the result of job {number} has wrong buffers")
        return False

    def refuse_job(self, number):
        left = self.history.options.ranks_of(number) - self.simulation.channel.lost
        assert not left, f"job {number} is refused, but ranks {left} can run it"
        self.history.log_event("reply", number, Status.FAILED)

    def rank_lost(self, rank, jobs):
        self.history.rank_lost(rank, jobs)

    def rank_left(self, rank, reason):
        raise AssertionError(f"rank {rank} left: {bytes(reason)}")

    # The run

    def process_events(self):
        engine, simulation = self.engine, self.simulation
        if self.stopped:
            return True
        if self.history.n_expected:
            return False
        if engine.unfinished == 0:
            return True
        if len(simulation.channel.lost) == simulation.plan.workers:
            raise AllLostError
        if engine.idle:
            raise AssertionError("a deadlock: jobs wait, and none can run")
        self.check_idle()
        return False

    def check_idle(self):
        """Check that no worker is idle for long while a job is ready or could be stolen."""
        engine, simulation = self.engine, self.simulation
        unknown = any(
            engine.running_job(rank - 1) is not None and simulation.network.is_dead(rank)
            for rank in range(1, simulation.plan.workers + 1)
        )
        free = [
            rank
            for rank in range(1, simulation.plan.workers + 1)
            if rank not in simulation.channel.lost | simulation.channel.away
            and engine.running_job(rank - 1) is None
        ]
        # A dead worker gives no jobs back until its death is reported.
        can_steal = simulation.plan.makes_progress and not unknown
        most_ns = IDLE_NS + IDLE_LATENCIES * simulation.plan.latency
        if simulation.has_leaders and self.history.dead:
            most_ns += NOTICE_NS
        if not (self.plain_queued() and free) or not (can_steal or self.has_ready()):
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = simulation.network.clock
        elif simulation.network.clock - self.idle_since > most_ns:
            raise AssertionError(f"ranks {free} idle; {self.plain_queued()} jobs could run there")

    def plain_queued(self):
        """Return how many jobs are QUEUED that can run anywhere."""
        return sum(
            self.engine.status(job) is Status.QUEUED and self.pool.jobs[job].options is None
            for job in range(len(self.engine))
        )

    def has_ready(self):
        engine = self.engine
        return any(
            engine.status(job) is Status.QUEUED
            and not engine.is_sent(job)
            and self.pool.jobs[job].options is None
            for job in range(len(engine))
        )

    def timeout(self):
        return 60.0


class WorkerCallbacks:
    """The callbacks of a worker for one pool."""

    def __init__(self, simulation, number, rank):
        self.simulation = simulation
        self.pool = simulation.plan.pools[number]
        self.number = number
        self.rank = rank
        self.needed = set()
        self.loop = None
        self.scratch = bytearray(1 << 17)

    def load_function(self, flags, payload, buffers):
        function = int(bytes(payload))

        def call(owner, *args):
            return self.call(function, args)

        return (call, 0) if self.pool.direct else (call, 1)

    def run_job(self, number, function, flags, payload, buffers):
        if flags & RecordFlag.SCALARS:
            args = loads(bytes(payload))
        else:
            args = tuple(map(int, bytes(payload).strip(b"(),").split(b",")))
        n_keys = len(data_of(self.pool.jobs[number], self.pool.jobs))
        keys, args = args[len(args) - n_keys :], args[: len(args) - n_keys]
        if args[0] != number:
            raise AssertionError(f"job {number} got the arguments of job {args[0]}")
        try:
            self.take_data(args, keys)
            value = function[0](None, *args)
        except JobError as error:
            return self.job_failed(number, function, error)
        except (LookupError, RuntimeError):  # of `take_data`
            return FAILED, b"", ()
        if buffers:
            value = self.value_of_buffers(args, buffers)
        size = self.pool.jobs[number].result_size
        if not size:
            return OK, struct.pack("<I", value), ()
        # The next job overwrites this memory, so the reply must be sent before.
        self.scratch[:size] = filling(value, size)
        return OK, struct.pack("<I", value), [memoryview(self.scratch)[:size]]

    def take_data(self, args, keys):
        """Check the data that a job gets; they may still be under way."""
        job = self.pool.jobs[args[0]]
        for dep, key in zip(data_of(job, self.pool.jobs), keys, strict=True):
            try:
                payload, buffers = self.loop.take_data(key)
            except LookupError:
                self.simulation.data_lost(self.number, self.rank, args[0])
                raise
            value = args[1 + job.deps.index(dep)]
            if bytes(payload) != struct.pack("<I", value):
                raise AssertionError(f"job {args[0]} got wrong data of job {dep}")
            if [bytes(buffer) for buffer in buffers] != [filling(value, LARGE)]:
                raise AssertionError(f"job {args[0]} got wrong buffers of job {dep}")

    def value_of_buffers(self, args, buffers):
        job = self.pool.jobs[args[0]]
        if [bytes(buffer) for buffer in buffers] != [filling(args[0], job.size)]:
            raise AssertionError(f"job {args[0]} got wrong buffers")
        return value_of(args, bytes(buffers[0]))

    def call(self, function, args):
        """Run a job for its duration. Its rank may die meanwhile."""
        number = args[0]
        job = self.pool.jobs[number]
        if job.function != function:
            raise AssertionError(f"job {number} calls the wrong function {function}")
        missing = {self.simulation.token(self.number, item) for item in job.items} - self.needed
        if missing:
            raise AssertionError(f"job {number} runs without items {missing}")
        self.simulation.job_begun(self.number, self.rank, number)
        try:
            self.busy(number, job.duration)
        except JobInterruptedError:
            self.simulation.job_ended(self.number, self.rank, number)
            raise
        self.simulation.job_ended(self.number, self.rank, number)
        if self.simulation.histories[self.number].fails[number]:
            raise JobError
        return value_of(args)

    def busy(self, job, ns):
        network, slice_ns = self.simulation.network, MS
        for part in (ns // 2, ns - ns // 2):
            left = part
            while self.simulation.plan.makes_progress and left > slice_ns:
                self.check_alive(network.advance(self.rank, slice_ns))
                self.loop.make_progress()
                self.check_interrupt(job)
                left -= slice_ns
                slice_ns = min(slice_ns * 2, 4 * MS)
            self.check_alive(network.advance(self.rank, left))
            self.simulation.job_halfway(self.rank)
            self.check_alive(not network.is_dead(self.rank))

    def check_interrupt(self, job):
        history = self.simulation.histories[self.number]
        if self.is_interrupted(job):
            history.job_interrupted(job)
            raise JobInterruptedError
        history.check_not_late(job, self.simulation.network.clock)

    def is_interrupted(self, job):
        return self.loop.running_job.interrupted(job)

    def check_alive(self, alive):
        if not alive:
            raise RankDiedError

    def job_failed(self, number, function, error):
        if not isinstance(error, JobError):
            raise error
        return FAILED, b"", ()

    def pack_result(self, value):
        return struct.pack("<I", value), ()

    def ranks_died(self):
        return True

    def main_lost(self, rank):
        raise MainDiedError

    def items_needed(self, tokens):
        self.loop.direct = False
        self.needed.update(tokens)

    def items_unneeded(self, tokens):
        self.needed.difference_update(tokens)
