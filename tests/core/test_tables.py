"""Hypothesis takes the tables one by one, each against a few plain lines of Python."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bsbpool._core.testing.tables import CacheTable, GraphTable, ReadyTable, WorkersTable

PICK = st.integers(0, 2**16)
N_WORKERS = 4
LONG_NS, AHEAD_NS, MAX_CREDIT = 2e6, 1e6, 256


class GraphMachine(RuleBasedStateMachine):
    """Jobs wait for jobs and for joins of all modes; each dependency is settled once."""

    OPEN, MET, BROKEN = 0, 1, 2
    ALL, ANY, ENDED, FAILURE = range(4)
    SUCCESS, FAILED, CANCELLED = range(3)

    def __init__(self):
        super().__init__()
        self.graph = GraphTable()
        self.deps = []  # the unsettled dependencies of each job: ("job", n) or ("join", n)
        self.joins = []  # members that are not settled
        self.states = []
        self.modes = []
        self.endings = []  # of the members that were settled, for each join
        self.settled = set()

    def unsettled(self):
        return [job for job in range(len(self.deps)) if job not in self.settled]

    @rule(picks=st.lists(PICK, max_size=4), join=st.none() | PICK)
    def add(self, picks, join):
        job = self.graph.add()
        assert job == len(self.deps)
        deps = []
        for pick in picks:
            open_jobs = self.unsettled()
            if open_jobs:
                other = open_jobs[pick % len(open_jobs)]
                assert self.graph.depend(job, other) == 0
                deps.append(("job", other))
        open_joins = [n for n, state in enumerate(self.states) if state == self.OPEN]
        if join is not None and open_joins:
            number = open_joins[join % len(open_joins)]
            assert self.graph.depend_join(job, number) == 0
            deps.append(("join", number))
        self.deps.append(deps)

    @precondition(lambda self: self.unsettled())
    @rule(picks=st.lists(PICK, min_size=1, max_size=5), mode=st.integers(0, 3))
    def join(self, picks, mode):
        number = self.graph.join(mode)
        assert number == len(self.joins)
        members = [self.unsettled()[pick % len(self.unsettled())] for pick in picks]
        for member in members:
            assert self.graph.join_member(number, member) == 0
        self.joins.append(members)
        self.states.append(self.OPEN)
        self.modes.append(mode)
        self.endings.append([])

    def state(self, number):
        """The state of a join by the endings of its members."""
        endings, rest = self.endings[number], self.joins[number]
        wanted = {self.ANY: self.SUCCESS, self.FAILURE: self.FAILED}.get(self.modes[number])
        if wanted is not None:
            last = self.OPEN if rest else self.BROKEN
            return self.MET if wanted in endings else last
        if self.modes[number] == self.ALL and set(endings) - {self.SUCCESS}:
            return self.BROKEN
        return self.OPEN if rest else self.MET

    @precondition(lambda self: self.deps)
    @rule(pick=PICK, ahead=st.integers(0, 3))
    def depend_wrongly(self, pick, ahead):
        """On itself, on a younger job or on an unknown job; refusing these prevents cycles."""
        job = pick % len(self.deps)
        assert self.graph.depend(job, job + ahead) < -1
        assert self.graph.depend(job, -1 - ahead) < -1
        assert self.graph.depend_join(job, len(self.joins) + ahead) < -1
        assert self.graph.join_member(len(self.joins) + ahead, job) < -1

    @precondition(lambda self: self.unsettled())
    @rule(pick=PICK, ending=st.sampled_from([0, 0, 0, 1, 2]))
    def settle(self, pick, ending):
        job = self.unsettled()[pick % len(self.unsettled())]
        self.settled.add(job)
        settled = {("job", job): self.MET if ending == self.SUCCESS else self.BROKEN}
        for number, members in enumerate(self.joins):
            self.endings[number] += [ending] * members.count(job)
            self.joins[number] = [member for member in members if member != job]
            if self.states[number] == self.OPEN and self.state(number) != self.OPEN:
                self.states[number] = settled["join", number] = self.state(number)
        met, broken = [], []
        for waiter, deps in enumerate(self.deps):
            left = [dep for dep in deps if dep not in settled]
            if left != deps:
                gone = [settled[dep] for dep in deps if dep in settled]
                self.deps[waiter] = left
                if self.BROKEN in gone:
                    broken.append(waiter)
                if not left:
                    met.append(waiter)
        found_met, found_broken = self.graph.settle(job, ending)
        # The last dependency of a job may be one that has failed: then it is not met.
        met = [job for job in met if job in found_met or job not in broken]
        assert sorted(found_met) == met
        assert sorted(set(found_broken)) == broken

    @invariant()
    def agree(self):
        assert [self.graph.unmet(job) for job in range(len(self.deps))] == [
            len(deps) for deps in self.deps
        ]
        assert [self.graph.state(join) for join in range(len(self.joins))] == self.states
        live, made = self.graph.edges
        assert live == sum(map(len, self.deps)) + sum(map(len, self.joins))
        assert live <= made


class ReadyMachine(RuleBasedStateMachine):
    """A set of ids, far apart so that all levels of the bitmap have work."""

    IDS = st.integers(0, 63) | st.integers(0, 5000) | st.integers(0, 300_000)

    def __init__(self):
        super().__init__()
        self.ready = ReadyTable()
        self.wanted = set()
        self.capacity = 0

    @rule(job=IDS)
    def push(self, job):
        if job not in self.wanted:
            self.capacity = max(self.capacity, job + 1)
            self.ready.reserve(self.capacity)
            self.ready.push(job)
            self.wanted.add(job)

    @rule()
    def pop(self):
        smallest = min(self.wanted, default=-1)
        assert self.ready.pop() == smallest
        self.wanted.discard(smallest)

    @rule(job=IDS)
    def remove(self, job):
        if job < self.capacity:
            assert self.ready.remove(job) is (job in self.wanted)
            self.wanted.discard(job)

    @precondition(lambda self: self.wanted)
    @rule(pick=PICK)
    def remove_one_that_is_there(self, pick):
        job = sorted(self.wanted)[pick % len(self.wanted)]
        assert self.ready.remove(job)
        self.wanted.remove(job)

    @invariant()
    def agree(self):
        assert len(self.ready) == len(self.wanted)
        assert all(self.ready.has(job) for job in self.wanted)

    def teardown(self):
        assert [self.ready.pop() for _ in sorted(self.wanted)] == sorted(self.wanted)
        assert self.ready.pop() == -1


class CacheMachine(RuleBasedStateMachine):
    """Jobs start and end; the log records when items become needed and unneeded."""

    def __init__(self):
        super().__init__()
        self.cache = CacheTable()
        self.n_items = 0
        self.sets = []
        self.held = []  # the set of each job that has not ended
        self.log = []

    @rule()
    def item(self):
        assert self.cache.item((1 << 64) - 1 - self.n_items) == self.n_items
        self.n_items += 1

    @rule(picks=st.sets(PICK, max_size=4))
    def set(self, picks):
        items = sorted({pick % self.n_items for pick in picks}) if self.n_items else []
        assert self.cache.set(items) == len(self.sets)
        self.sets.append(items)

    @precondition(lambda self: self.sets)
    @rule(pick=PICK)
    def acquire(self, pick):
        number = pick % len(self.sets)
        self.log += [item for item in self.sets[number] if not self.ref_count(item)]
        self.cache.acquire(number)
        self.held.append(number)

    @precondition(lambda self: self.held)
    @rule(pick=PICK)
    def release(self, pick):
        number = self.held.pop(pick % len(self.held))
        self.cache.release(number)
        self.log += [item for item in self.sets[number] if not self.ref_count(item)]

    def ref_count(self, item):
        return sum(item in self.sets[number] for number in self.held)

    @invariant()
    def agree(self):
        counts = [self.ref_count(item) for item in range(self.n_items)]
        assert [self.cache.ref_count(item) for item in range(self.n_items)] == counts
        assert self.cache.n_needed == sum(count > 0 for count in counts)
        assert self.cache.changed == self.log
        for item, count in enumerate(counts):
            assert self.log.count(item) % 2 == (count > 0)


class WorkersMachine(RuleBasedStateMachine):
    """Loads, run times and absences change; the lists contain the workers that may get a job."""

    def __init__(self):
        super().__init__()
        self.workers = WorkersTable(N_WORKERS)
        self.loads = [0] * N_WORKERS
        self.held = [False] * N_WORKERS

    WORKERS = st.integers(0, N_WORKERS - 1)

    @rule(worker=WORKERS, load=st.integers(0, 300))
    def load(self, worker, load):
        self.loads[worker] = load
        self.workers.load(worker, load)

    @rule(worker=WORKERS, held=st.booleans())
    def hold(self, worker, held):
        self.held[worker] = held
        self.workers.set_available(worker, not held)

    @rule(worker=WORKERS, run_ns=st.floats(0, 1e9), times=st.integers(1, 20))
    def measure(self, worker, run_ns, times):
        for _ in range(times):
            before = self.workers.credit(worker)
            self.workers.measure(worker, run_ns)
            after = self.workers.credit(worker)
            assert 1 <= after <= min(2 * before, MAX_CREDIT)
            assert run_ns < 2 * LONG_NS or after == 1

    @rule()
    def next_one(self):
        """Idle workers come first; a taken worker is on no list until its load is known."""
        candidates = self.workers.idle or self.workers.spare
        worker = self.workers.next()
        if not candidates:
            assert worker == -1
            return
        assert worker in candidates
        assert worker not in self.workers.idle + self.workers.spare
        self.load(worker, self.loads[worker] + 1)

    @invariant()
    def agree(self):
        free = [
            worker
            for worker in range(N_WORKERS)
            if not self.held[worker] and self.loads[worker] < self.workers.credit(worker)
        ]
        assert sorted(self.workers.idle) == [w for w in free if not self.loads[w]]
        assert sorted(self.workers.spare) == [w for w in free if self.loads[w]]


def test_the_credit_converges_to_a_millisecond_of_work():
    for run_ns in (1e3, 1e4, 1e5, 1e6):
        workers = WorkersTable(1)
        for _ in range(100):
            workers.measure(0, run_ns)
        assert workers.credit(0) == min(int(2 + AHEAD_NS / (run_ns + 500)), MAX_CREDIT)


SETTINGS = settings(max_examples=60, stateful_step_count=30, deadline=None)

TestGraph = GraphMachine.TestCase
TestGraph.settings = SETTINGS
TestReady = ReadyMachine.TestCase
TestReady.settings = SETTINGS
TestCache = CacheMachine.TestCase
TestCache.settings = SETTINGS
TestWorkers = WorkersMachine.TestCase
TestWorkers.settings = SETTINGS
