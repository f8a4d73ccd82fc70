"""The dispatcher's tables for Python, one by one and without each other: for tests.

Nothing here checks what the dispatcher sees to, so a wrong number is the end of the process.
"""
from bsbpool._core.scheduling.cache_refs cimport (
    cache_acquire,
    cache_free,
    cache_init,
    cache_item,
    cache_release,
    cache_set,
    cache_t,
)
from bsbpool._core.scheduling.graph cimport (
    graph_add,
    graph_depend,
    graph_depend_join,
    graph_free,
    graph_init,
    graph_join,
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
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from bsbpool._core.scheduling.workers cimport (
    workers_free,
    workers_init,
    workers_list,
    workers_measure,
    workers_next,
    workers_open,
    workers_t,
)
from libc.stdint cimport int32_t, int64_t, uint64_t


cdef list listed(ints_t *v):
    cdef int64_t i
    return [v.data[i] for i in range(v.size)]


cdef int checked(int code) except -1:
    if code == -1:
        raise MemoryError()
    return code


cdef class GraphTable:
    """Who waits for whom."""

    cdef graph_t table

    def __cinit__(self):
        graph_init(&self.table)

    def __dealloc__(self):
        graph_free(&self.table)

    def add(self):
        """Add a job; return its id."""
        return checked(graph_add(&self.table))

    def depend(self, int32_t job, int32_t dependency):
        """Let a job wait for another; 0, or a negative code."""
        return checked(graph_depend(&self.table, job, dependency))

    def join(self):
        """Add a join; return its number."""
        return checked(graph_join(&self.table))

    def join_member(self, int32_t join, int32_t job):
        """Let a join wait for a job; 0, or a negative code."""
        return checked(graph_join_member(&self.table, join, job))

    def depend_join(self, int32_t job, int32_t join):
        """Let a job wait for a join; 0, or a negative code."""
        return checked(graph_depend_join(&self.table, job, join))

    def settle(self, int32_t job, bint success):
        """Tell the dependents of a job; return those that are met, and those that are broken."""
        checked(graph_settle(&self.table, job, success))
        return listed(&self.table.met), listed(&self.table.broken)

    def unmet(self, int32_t job):
        """How many dependencies of a job are not settled."""
        return self.table.vertices[job].unmet

    def state(self, int32_t join):
        """0: a join is open, 1: it is met, 2: it is broken."""
        return self.table.joins[join].state

    @property
    def edges(self):
        """How many edges are in use, and how many were made."""
        return self.table.live_edges, self.table.n_edges


cdef class ReadyTable:
    """A set of ids of which the smallest goes first."""

    cdef ready_t table

    def __cinit__(self):
        ready_init(&self.table)

    def __dealloc__(self):
        ready_free(&self.table)

    def __len__(self):
        return self.table.count

    def reserve(self, int64_t n_jobs):
        """Make room for the ids below `n_jobs`."""
        if ready_reserve(&self.table, n_jobs) < 0:
            raise MemoryError()

    def push(self, int32_t job):
        """Add an id that is not there."""
        ready_push(&self.table, job)

    def pop(self):
        """Take the smallest id; -1 when there is none."""
        return ready_pop(&self.table)

    def remove(self, int32_t job):
        """Take an id out; return whether it was there."""
        return ready_remove(&self.table, job)

    def has(self, int32_t job):
        """Whether an id is there."""
        return ready_has(&self.table, job)


cdef class CacheTable:
    """How many jobs need each item."""

    cdef cache_t table

    def __cinit__(self):
        cache_init(&self.table)

    def __dealloc__(self):
        cache_free(&self.table)

    def item(self, uint64_t token):
        """Add an item; return its number."""
        return checked(cache_item(&self.table, token))

    def set(self, items):
        """Add a set of items; return its number."""
        cdef ints_t numbers = ints_t(NULL, 0, 0)
        cdef int32_t number
        for item in items:
            checked(ints_push(&numbers, item))
        number = cache_set(&self.table, numbers.data, numbers.size)
        ints_free(&numbers)
        return checked(number)

    def acquire(self, int32_t number):
        """One more job needs a set."""
        checked(cache_acquire(&self.table, number))

    def release(self, int32_t number):
        """One job fewer needs a set."""
        checked(cache_release(&self.table, number))

    def needed_by(self, int32_t item):
        """How many jobs need an item."""
        return self.table.items[item].needed_by

    @property
    def n_needed(self):
        """How many items are needed."""
        return self.table.n_needed

    @property
    def changed(self):
        """The log: items that became needed or unneeded."""
        return listed(&self.table.changed)


cdef class WorkersTable:
    """Who can take a job."""

    cdef workers_t table

    def __cinit__(self, int32_t n):
        workers_init(&self.table)
        checked(workers_open(&self.table, n))

    def __dealloc__(self):
        workers_free(&self.table)

    def next(self):
        """Take a worker with credit to spare off its list; -1 when none has."""
        return workers_next(&self.table)

    def load(self, int32_t worker, int32_t in_flight):
        """Let a worker hold so many jobs."""
        self.table.slots[worker].in_flight = in_flight
        workers_list(&self.table, worker)

    def hold(self, int32_t worker, bint held):
        """Give a worker no jobs, or give it some again."""
        self.table.slots[worker].alive = not held
        workers_list(&self.table, worker)

    def measure(self, int32_t worker, double run_ns):
        """A job of a worker took so long."""
        workers_measure(&self.table, worker, run_ns)
        workers_list(&self.table, worker)

    def credit(self, int32_t worker):
        """How many jobs a worker may hold."""
        return self.table.slots[worker].credit

    @property
    def idle(self):
        """Those that hold no job and may get one, the next one last."""
        return listed(&self.table.idle)

    @property
    def spare(self):
        """Those that hold some and may get more, the next one last."""
        return listed(&self.table.spare)
