"""The dispatcher's tables, each on its own, for tests.

Methods do not check numbers, as the dispatcher only passes existing ones: a wrong number may crash
the process.
"""
from bsbpool._core.jobs.dependency_sets cimport DependencySets
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.scheduling.cache_refs cimport (
    cache_acquire,
    cache_free,
    cache_init,
    cache_add_item,
    cache_release,
    cache_add_set,
    cache_t,
)
from bsbpool._core.scheduling.graph cimport (
    ending_t,
    graph_add_job,
    graph_depend,
    graph_depend_join,
    graph_free,
    graph_init,
    graph_add_join,
    graph_join_member,
    graph_settle,
    graph_t,
)
from bsbpool._core.scheduling.ready cimport (
    ready_free,
    ready_has,
    ready_init,
    ready_pop,
    ready_push,
    ready_remove,
    ready_reserve,
    ready_t,
)
from bsbpool._core.scheduling.workers cimport (
    workers_free,
    workers_init,
    workers_list,
    workers_measure,
    workers_next,
    workers_open,
    workers_set_available,
    workers_t,
)
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


cdef list to_list(ints_t *v):
    cdef int64_t i
    return [v.data[i] for i in range(v.size)]


cdef int checked(int code) except -1:
    if code == -1:
        raise MemoryError()
    return code


def read_dependencies(DependencySets sets not None, deps):
    """Return the job ids and the join (or -1) that stand for dependencies.

    Parameters
    ----------
    sets : DependencySets
        The sets of a pool.
    deps : iterable of Job or None
        The dependencies.

    Returns
    -------
    ids : list of int
    join : int
    """
    cdef ints_t ids = ints_t(NULL, 0, 0)
    try:
        join = sets.read(deps, &ids, Handle())
        return to_list(&ids), join
    finally:
        ints_free(&ids)


cdef class GraphTable:
    """The graph of dependencies."""

    cdef graph_t table

    def __cinit__(self):
        graph_init(&self.table)

    def __dealloc__(self):
        graph_free(&self.table)

    def add(self):
        """Add a job; return its id."""
        return checked(graph_add_job(&self.table))

    def depend(self, int32_t job, int32_t dependency):
        """Make a job depend on another; return 0 or a negative error code."""
        return checked(graph_depend(&self.table, job, dependency))

    def join(self, uint8_t mode=0):
        """Add a join; return its number."""
        return checked(graph_add_join(&self.table, mode))

    def join_member(self, int32_t join, int32_t job):
        """Make a join depend on a job; return 0 or a negative error code."""
        return checked(graph_join_member(&self.table, join, job))

    def depend_join(self, int32_t job, int32_t join):
        """Make a job depend on a join; return 0 or a negative error code."""
        return checked(graph_depend_join(&self.table, job, join))

    def settle(self, int32_t job, int ending):
        """Settle a job with an `ending_t`; return its dependents that are met, and failed ones."""
        self.table.met.size = self.table.failed.size = 0
        checked(graph_settle(&self.table, job, <ending_t>ending))
        return to_list(&self.table.met), to_list(&self.table.failed)

    def unmet(self, int32_t job):
        """Return the number of unmet dependencies of a job."""
        return self.table.vertices[job].unmet

    def state(self, int32_t join):
        """Return the state of a join: 0 if it is open, 1 if met, 2 if failed."""
        return self.table.joins[join].state

    @property
    def edges(self):
        """The number of edges in use, and of all edges allocated."""
        return self.table.live_edges, self.table.n_edges


cdef class ReadyTable:
    """The ready set."""

    cdef ready_t table

    def __cinit__(self):
        ready_init(&self.table)

    def __dealloc__(self):
        ready_free(&self.table)

    def __len__(self):
        return self.table.count

    def reserve(self, int64_t n_jobs):
        """Allocate memory for the ids below `n_jobs`."""
        if ready_reserve(&self.table, n_jobs) < 0:
            raise MemoryError()

    def push(self, int32_t job):
        """Add an id that is not in the set."""
        ready_push(&self.table, job)

    def pop(self):
        """Remove and return the smallest id; -1 if there is none."""
        return ready_pop(&self.table)

    def remove(self, int32_t job):
        """Remove an id; return whether it was in the set."""
        return ready_remove(&self.table, job)

    def has(self, int32_t job):
        """Return whether an id is in the set."""
        return ready_has(&self.table, job)


cdef class CacheTable:
    """The reference counts of cache items."""

    cdef cache_t table

    def __cinit__(self):
        cache_init(&self.table)

    def __dealloc__(self):
        cache_free(&self.table)

    def item(self, uint64_t token):
        """Add an item; return its number."""
        return checked(cache_add_item(&self.table, token))

    def set(self, items):
        """Add a set of items; return its number."""
        cdef ints_t numbers = ints_t(NULL, 0, 0)
        cdef int32_t number
        for item in items:
            checked(ints_push(&numbers, item))
        number = cache_add_set(&self.table, numbers.data, numbers.size)
        ints_free(&numbers)
        return checked(number)

    def acquire(self, int32_t number):
        """Count one more job that needs a set."""
        checked(cache_acquire(&self.table, number))

    def release(self, int32_t number):
        """Count one job less that needs a set."""
        checked(cache_release(&self.table, number))

    def ref_count(self, int32_t item):
        """Return the number of jobs that need an item."""
        return self.table.items[item].ref_count

    @property
    def n_needed(self):
        """The number of items that jobs need."""
        return self.table.n_needed

    @property
    def changed(self):
        """The log: items that became needed or unneeded, in order."""
        return to_list(&self.table.changed)


cdef class WorkersTable:
    """The workers, and which of them can get a job."""

    cdef workers_t table

    def __cinit__(self, int32_t n):
        workers_init(&self.table)
        checked(workers_open(&self.table, n))

    def __dealloc__(self):
        workers_free(&self.table)

    def next(self):
        """Remove a worker with credit left from its list; return it, or -1 if there is none."""
        return workers_next(&self.table)

    def load(self, int32_t worker, int32_t in_flight):
        """Set the number of jobs that a worker holds."""
        self.table.slots[worker].in_flight = in_flight
        workers_list(&self.table, worker)

    def set_available(self, int32_t worker, bint available):
        """Set whether a worker may get jobs."""
        workers_set_available(&self.table, worker, available)

    def measure(self, int32_t worker, double run_ns):
        """Report the run time of a job of a worker."""
        workers_measure(&self.table, worker, run_ns)
        workers_list(&self.table, worker)

    def credit(self, int32_t worker):
        """Return the number of jobs that a worker may hold."""
        return self.table.slots[worker].credit

    @property
    def idle(self):
        """The available workers without jobs; the next one to get a job is the last."""
        return to_list(&self.table.idle)

    @property
    def spare(self):
        """The workers with jobs and credit left; the next one to get a job is the last."""
        return to_list(&self.table.spare)
