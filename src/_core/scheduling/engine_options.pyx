"""The options of jobs in the tables of a pool. Only pools whose jobs have options import this."""
from bsbpool._core.scheduling.dispatcher cimport dispatcher_retry
from bsbpool._core.scheduling.dispatcher_tables cimport SPECIAL
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.gang_tables cimport gang_t, gangs_t
from bsbpool._core.scheduling.gangs cimport gang_of
from bsbpool._core.scheduling.resources cimport (
    MAX_DEVICES,
    MAX_NEEDS,
    NO_DEMAND,
    NO_RESERVATION,
    NO_STOCK,
    demand_t,
    reservation_t,
    resources_add_demand,
    resources_add_stock,
    resources_fit,
    resources_open,
)
from bsbpool._core.scheduling.special cimport special_t, specials_default, specials_find
from bsbpool._core.scheduling.status cimport RUNNING
from bsbpool._core.scheduling.waiting cimport last_worker, prefer_worker
from bsbpool._core.scheduling.worker_sets cimport (
    NO_SET,
    ints_insert,
    worker_sets_find,
    worker_sets_has,
)
from bsbpool._core.scheduling.workers cimport NO_WORKER
from bsbpool._core.vector cimport ints_copy, ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t


cdef class EngineOptions:
    """What the options of jobs add to an engine.

    Parameters
    ----------
    engine : Engine
        The tables of the pool, with its workers opened, if it has any.
    """

    def __init__(self, Engine engine not None):
        self.engine = engine

    @property
    def n_workers(self):
        """The number of workers; 0 in a serial run."""
        return self.engine.d.workers.n

    # ------------------------------------------------------------------ resources

    def open_resources(self, int32_t n_kinds):
        """Set the number of kinds of resources. Call it once, after the workers were opened."""
        if self.engine.d.special.resources.stock_of != NULL:
            raise ValueError("the kinds of resources were set before")
        if n_kinds < 0:
            raise ValueError(f"n_kinds must not be negative, got {n_kinds}")
        if resources_open(
            &self.engine.d.special.resources, max(self.engine.d.workers.n, 1), n_kinds
        ) < 0:
            raise MemoryError()

    def add_stock(self, int32_t kind, int64_t total, workers, bint devices=False):
        """Give workers an amount of a kind of resource, which they share.

        Parameters
        ----------
        kind : int
        total : int
            The units.
        workers : iterable of int
            The workers; [0] for the process of a serial run.
        devices : bool, optional
            Whether the units are devices, of which each job gets particular ones.
        """
        cdef ints_t numbers = ints_t(NULL, 0, 0)
        cdef int32_t stock
        cdef int64_t i
        if not 0 <= kind < self.engine.d.special.resources.n_kinds:
            raise IndexError(f"kind {kind} does not exist")
        if total < 0 or (devices and total > MAX_DEVICES):
            most = f" to {MAX_DEVICES}" if devices else ""
            raise ValueError(f"total must be from 0{most}, got {total}")
        ints_copy(&numbers, workers, self.engine.d.special.resources.n_workers)
        stock = resources_add_stock(&self.engine.d.special.resources, total, devices)
        if stock >= 0:
            for i in range(numbers.size):
                self.engine.d.special.resources.stock_of[
                    <int64_t>numbers.data[i] * self.engine.d.special.resources.n_kinds + kind
                ] = stock
        ints_free(&numbers)
        if stock < 0:
            raise MemoryError()

    def add_demand(self, needs):
        """Return the number of a demand: pairs of a kind and the units that a job needs."""
        cdef demand_t demand
        cdef int32_t number
        needs = sorted(needs)
        if len(needs) > MAX_NEEDS or len({kind for kind, _ in needs}) != len(needs):
            raise ValueError(f"a job can need {MAX_NEEDS} different resources, got {needs}")
        demand.n = 0
        for kind, units in needs:
            if not 0 <= kind < self.engine.d.special.resources.n_kinds or units < 0:
                raise ValueError(f"kind {kind} with {units} units does not exist")
            demand.kinds[demand.n] = kind
            demand.units[demand.n] = units
            demand.n += 1
        number = resources_add_demand(&self.engine.d.special.resources, &demand)
        if number < 0:
            raise MemoryError()
        return number

    def free_units(self, int32_t worker, int32_t kind):
        """Return the units of a kind that a worker can get now; None if it has no such resource."""
        cdef int32_t stock
        if not 0 <= kind < self.engine.d.special.resources.n_kinds or not (
            0 <= worker < self.engine.d.special.resources.n_workers
        ):
            raise IndexError(f"worker {worker} or kind {kind} does not exist")
        stock = self.engine.d.special.resources.stock_of[
            <int64_t>worker * self.engine.d.special.resources.n_kinds + kind
        ]
        return None if stock == NO_STOCK else self.engine.d.special.resources.stocks[stock].free

    def devices(self, int64_t job):
        """Return what a job holds: for each kind its units, and its devices as bits."""
        cdef special_t *entry = self.entry_of(job)
        cdef demand_t *demand
        cdef reservation_t *held
        if entry == NULL or entry.reservation == NO_RESERVATION:
            return {}
        held = &self.engine.d.special.resources.reservations[entry.reservation]
        demand = &self.engine.d.special.resources.demands[held.demand]
        return {demand.kinds[k]: (demand.units[k], held.devices[k]) for k in range(demand.n)}

    # ------------------------------------------------------------------ places

    def add_worker_set(self, workers):
        """Return the number of a set of workers."""
        cdef ints_t numbers = ints_t(NULL, 0, 0)
        cdef ints_t distinct = ints_t(NULL, 0, 0)
        cdef int32_t number = -1
        cdef int64_t i
        ints_copy(&numbers, workers, max(self.engine.d.workers.n, 1))
        for i in range(numbers.size):
            if ints_insert(&distinct, numbers.data[i]) < 0:
                break
        else:
            number = worker_sets_find(&self.engine.d.special.sets, &distinct)
        ints_free(&numbers)
        ints_free(&distinct)
        if number < 0:
            raise MemoryError()
        return number

    def is_possible(
        self, int32_t targets=NO_SET, int32_t demand=NO_DEMAND, int32_t n_ranks=1
    ):
        """Return whether enough workers of a set have not died and have all that a demand needs."""
        cdef int32_t worker
        if not -1 <= targets < self.engine.d.special.sets.n or not (
            -1 <= demand < self.engine.d.special.resources.n_demands
        ):
            raise IndexError(f"set {targets} or demand {demand} does not exist")
        if self.engine.d.workers.n == 0:
            return n_ranks <= 1 and bool(
                resources_fit(&self.engine.d.special.resources, 0, demand, False)
            )
        for worker in range(self.engine.d.workers.n):
            if (
                not self.engine.d.workers.slots[worker].lost
                and worker_sets_has(&self.engine.d.special.sets, targets, worker)
                and resources_fit(&self.engine.d.special.resources, worker, demand, False)
            ):
                n_ranks -= 1
        return n_ranks <= 0

    # ------------------------------------------------------------------ jobs on several workers

    def set_nodes(self, nodes):
        """Set the node of each worker, as numbers from 0; once, for jobs that prefer one node."""
        cdef gangs_t *gangs = &self.engine.d.special.gangs
        cdef ints_t numbers = ints_t(NULL, 0, 0)
        if gangs.node_of != NULL:
            raise ValueError("the nodes were set before")
        nodes = list(nodes)
        if len(nodes) != self.engine.d.workers.n:
            raise ValueError(f"nodes must have {self.engine.d.workers.n} items, got {len(nodes)}")
        ints_copy(&numbers, nodes, max(len(nodes), 1))
        gangs.node_of = numbers.data  # which the engine frees
        gangs.n_nodes = max(nodes, default=0) + 1

    def members(self, int64_t job):
        """Return the workers that run a job together; None if it is no such job, or not running."""
        cdef gang_t *gang
        self.engine.check_job(job)
        gang = gang_of(&self.engine.d, <int32_t>job)
        if gang == NULL:
            return None
        return [gang.members.data[i] for i in range(gang.members.size)]

    def prefer(self, int64_t job, int32_t worker):
        """Let a job with options run on a worker, if that has credit when the job is assigned."""
        cdef special_t *entry = self.entry_of(job)
        self.engine.check_worker(worker)
        if entry == NULL:
            raise ValueError(f"job {job} has no options")
        prefer_worker(&self.engine.d, entry, worker)
        self.engine.raise_fault()

    def move(self, int64_t job, int32_t targets):
        """Allow a job with options that is running only on a set of workers, with one more retry.

        Raises
        ------
        ValueError
            When the job has no options, or is not running.
        """
        cdef special_t *entry = self.entry_of(job)
        if entry == NULL or self.engine.d.jobs[job].status != RUNNING:
            raise ValueError(f"job {job} has no options, or is not running")
        if not 0 <= targets < self.engine.d.special.sets.n:
            raise IndexError(f"set {targets} does not exist")
        entry.conditions.targets = targets
        entry.retries += 1

    def last_worker(self, int64_t job):
        """Return the worker to which a job was sent last, or None."""
        cdef int32_t worker
        self.engine.check_job(job)
        worker = last_worker(&self.engine.d.jobs[job])
        return None if worker < 0 else worker

    # ------------------------------------------------------------------ retries

    def retries_left(self, int64_t job, bint lost=False):
        """Return how often a job may still be retried: after errors, or after lost workers."""
        cdef special_t *entry = self.entry_of(job)
        if entry == NULL:
            return 0
        return entry.lost_retries if lost else entry.retries

    def attempts(self, int64_t job):
        """Return how many attempts of a job have been followed by another one."""
        cdef special_t *entry = self.entry_of(job)
        return 0 if entry == NULL else entry.attempts

    def retry(self, int64_t job):
        """Make a job that has failed in this process ready again.

        Returns
        -------
        bool
            False if it may not be retried any more, does not run here, or was started before the
            run; then nothing changes.
        """
        if not self.retries_left(job) or self.engine.d.jobs[job].status != RUNNING or (
            self.engine.d.jobs[job].worker != NO_WORKER or not self.engine.d.started
        ):
            return False
        dispatcher_retry(&self.engine.d, <int32_t>job)
        self.engine.raise_fault()
        return True

    # ------------------------------------------------------------------ for the core

    cdef special_t *entry_of(self, object job) except? NULL:
        """Return the options of a job, or NULL if it has none."""
        cdef int64_t number = job
        self.engine.check_job(number)
        if not self.engine.d.jobs[number].flags & SPECIAL:
            return NULL
        return specials_find(&self.engine.d.special, <int32_t>number)


cdef class JobSpec:
    """The options of jobs as the tables need them. Several jobs can be submitted with one.

    Parameters
    ----------
    engine : Engine
        The tables of the pool.
    priority : int, optional
        Jobs with a higher one run first.
    targets : int, optional
        The number of the set of workers that may run the job; -1 for all.
    demand : int, optional
        The number of the demand for resources; -1 for none.
    follow : iterable of int, optional
        Jobs; the new one runs on a worker where one of these was.
    strict : bool, optional
        Whether it runs only there. Otherwise it may run elsewhere after the grace time.
    grace_ns : int, optional
        How long it waits for a preferred worker, from when it is ready.
    prefer : int, optional
        The number of a set of workers that it had better run on; -1 for none.
    retries, lost_retries : int, optional
        How often it is run again after errors, and after its worker was lost.
    elsewhere : bool, optional
        Whether it runs again on another worker than before, if there is one.
    n_ranks : int, optional
        How many workers run the job together; 0 for one worker.
    same_node : bool, optional
        Whether these are of one node, if a node has enough.
    joins : iterable of int, optional
        Joins that must be met first.
    """

    def __init__(
        self, Engine engine not None, *, int32_t priority=0, int32_t targets=NO_SET,
        int32_t demand=NO_DEMAND, follow=(), bint strict=True, int64_t grace_ns=0,
        int32_t prefer=NO_SET, int32_t retries=0, int32_t lost_retries=0, bint elsewhere=False,
        int32_t n_ranks=0, bint same_node=False, joins=(),
    ):
        cdef int64_t number
        if not -1 <= targets < engine.d.special.sets.n or not (
            -1 <= prefer < engine.d.special.sets.n
        ):
            raise IndexError(f"set {targets} or {prefer} does not exist")
        if not -1 <= demand < engine.d.special.resources.n_demands:
            raise IndexError(f"demand {demand} does not exist")
        if retries < 0 or lost_retries < 0 or grace_ns < 0:
            raise ValueError("retries, lost_retries and grace_ns must not be negative")
        if n_ranks < 0 or (n_ranks and demand != NO_DEMAND):
            raise ValueError("n_ranks must not be negative, and excludes a demand")
        self.engine = engine
        self.follow = list(follow)
        self.joins = list(joins)
        for number in self.follow:
            engine.check_job(number)
        for number in self.joins:
            if not 0 <= number < engine.d.graph.n_joins:
                raise IndexError(f"join {number} does not exist")
        self.entry = specials_default()
        self.entry.priority = priority
        self.entry.conditions.targets = targets
        self.entry.conditions.preferred = prefer
        self.entry.conditions.demand = demand
        self.entry.conditions.grace_ns = grace_ns
        self.entry.conditions.n_ranks = n_ranks
        self.entry.conditions.same_node = same_node
        self.entry.strict = strict
        self.entry.elsewhere = elsewhere
        self.entry.retries = retries
        self.entry.lost_retries = lost_retries

    cdef special_t *prepared(self) except NULL:
        """Return the entry for the next job."""
        cdef ints_t *followed = &self.engine.d.special.followed
        self.entry.follow = followed.size
        self.entry.n_follow = 0
        for number in self.follow:
            if ints_push(followed, number) < 0:
                raise MemoryError()
            self.entry.n_follow += 1
        return &self.entry
