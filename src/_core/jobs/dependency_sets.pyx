"""Sets of dependencies, shared where jobs share them.

Thousands of jobs may each depend on the same thousands. To look at each member for each
of them would cost as much as the edges that a join saves, so a set is known again by its
*fingerprint*: its size and two 64-bit sums over the mixed addresses of its members. The
sums do not depend on the order, and the handles of a pool live as long as the pool, so
an address is a job. Two different sets of one pool with the same fingerprint would have
to agree by chance in 128 bits.

The table of a Python set is several times as large as what is in it. So the *layout* of
the last one is remembered: when each known member still stands in its slot, and there
are no others, it is the same set, though perhaps another object that was built alike.
"""
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from cpython.list cimport PyList_CheckExact
from cpython.object cimport PyObject
from cpython.set cimport PyAnySet_CheckExact, PyFrozenSet_CheckExact
from cpython.tuple cimport PyTuple_CheckExact
from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport free, malloc

cdef extern from "Python.h":
    ctypedef struct setentry:
        PyObject *key
        Py_hash_t hash
    ctypedef struct PySetObject:
        Py_ssize_t used
        Py_ssize_t mask
        setentry *table
    PyObject **PySequence_Fast_ITEMS(object)
    Py_ssize_t PySequence_Fast_GET_SIZE(object)
    Py_ssize_t PySet_GET_SIZE(object)

cdef enum:
    SMALLEST_SHARED = 4  # smaller sets are not worth a join
    REMEMBERED = 1024


cdef class DependencySets:
    """Turns the dependencies of new jobs into ids and joins of a pool's core.

    Parameters
    ----------
    pool : object
        Whose jobs they must be; its `_refuse_dependency(deps, item, inside)` raises for others.
    engine : Engine
        The pool's tables.
    """

    def __cinit__(self, pool, Engine engine not None):
        self.pool = pool
        self.engine = engine
        self.joins = {}
        self.last_join = self.layout.join = -1

    def __dealloc__(self):
        free(self.layout.slots)
        free(self.layout.keys)

    def of(self, deps):
        """Return the ids to depend on, and the join to depend on instead (or -1)."""
        cdef ints_t ids = ints_t(NULL, 0, 0)
        try:
            join = self.read(deps, &ids, Handle())
            return [ids.data[i] for i in range(ids.size)], join
        finally:
            ints_free(&ids)

    cdef int32_t read(self, object deps, ints_t *ids, Handle job) except -2:
        """Return the join of the dependencies of a job; -1 when that is none, but some `ids`.

        The handle keeps the dependencies: a tuple, the same for all jobs of a join.
        """
        cdef print_t print_
        cdef Py_ssize_t n = 0
        if deps is None:
            return -1
        if deps is self.last:
            job.deps = self.last_members
            return self.last_join
        if PyList_CheckExact(deps) or PyTuple_CheckExact(deps):
            n = PySequence_Fast_GET_SIZE(deps)
            if n < SMALLEST_SHARED:
                return self.learn(tuple(deps), None, ids, job)
            print_ = of_array(PySequence_Fast_ITEMS(deps), n)
        elif PyAnySet_CheckExact(deps):
            n = PySet_GET_SIZE(deps)
            if n < SMALLEST_SHARED:
                return self.learn(tuple(deps), None, ids, job)
            if fits(&self.layout, <PySetObject *>deps):
                job.deps = self.layout_members
                return self.layout.join
            print_ = of_set(<PySetObject *>deps)
        else:
            return self.read(self.listed(deps), ids, job)
        return self.request_steal(deps, (n, print_.first, print_.second), ids, job)

    cdef tuple listed(self, object deps):
        """Return what any iterable of jobs holds; raise in use what is none."""
        if isinstance(deps, Handle) or not hasattr(deps, "__iter__"):
            self.pool._refuse_dependency(deps, None, False)
        return tuple(deps)

    cdef int32_t request_steal(self, object deps, object key, ints_t *ids, Handle job) except -2:
        cdef int32_t join
        known = self.joins.get(key)
        if known is None:
            join = self.learn(tuple(deps), key, ids, job)
        else:
            join, job.deps = known
        if join >= 0 and PyAnySet_CheckExact(deps):
            if draw(&self.layout, <PySetObject *>deps) < 0:
                raise MemoryError()
            self.layout.join = join
            self.layout_members = job.deps
        # Only what cannot change may be recognised by its identity.
        if join >= 0 and (PyTuple_CheckExact(deps) or PyFrozenSet_CheckExact(deps)):
            self.last = deps
            self.last_join = join
            self.last_members = job.deps
        return join

    cdef int32_t learn(self, tuple deps, object key, ints_t *ids, Handle waiter) except -2:
        """Look at each member; make a join when the set is large."""
        cdef int32_t join
        cdef Handle job
        for item in deps:
            if not isinstance(item, Handle):
                self.pool._refuse_dependency(deps, item, True)
            job = <Handle>item
            if job._pool is not self.pool or job.number < 0:
                self.pool._refuse_dependency(deps, item, True)
            if ints_push(ids, job.number) < 0:
                raise MemoryError()
        waiter.deps = deps
        if key is None:
            drop_doubles(ids)
            return -1
        numbers = {ids.data[i] for i in range(ids.size)}
        ids.size = 0
        if len(numbers) < SMALLEST_SHARED:
            for number in numbers:
                if ints_push(ids, number) < 0:
                    raise MemoryError()
            return -1
        join = self.engine.join(numbers)
        self.joins[key] = join, deps
        if len(self.joins) > REMEMBERED:
            del self.joins[next(iter(self.joins))]
        return join


cdef void drop_doubles(ints_t *ids) noexcept:
    """A job waits for another once, however often the other was named. For few ids."""
    cdef int kept = 0
    cdef int i
    cdef int j
    for i in range(<int>ids.size):
        for j in range(kept):
            if ids.data[j] == ids.data[i]:
                break
        else:
            ids.data[kept] = ids.data[i]
            kept += 1
    ids.size = kept


cdef inline void mix(print_t *p, uint64_t x) noexcept nogil:
    cdef uint64_t a = x * 0x9E3779B97F4A7C15ULL
    a ^= a >> 32
    p.first += a * 0xD6E8FEB86659FD93ULL
    p.second += (a ^ x) * a


cdef print_t of_array(PyObject **items, Py_ssize_t n) noexcept:
    cdef print_t found = print_t(0, 0)
    cdef Py_ssize_t i
    for i in range(n):
        mix(&found, <uint64_t>items[i])
    return found


cdef print_t of_set(PySetObject *members) noexcept:
    cdef print_t found = print_t(0, 0)
    cdef Py_ssize_t i
    for i in range(members.mask + 1):
        # Empty slots hold NULL, which adds nothing. Slots of removed members hold one
        # and the same address: they make a set look new, never like another.
        mix(&found, <uint64_t>members.table[i].key)
    return found


cdef bint fits(layout_t *layout, PySetObject *members) noexcept:
    """Whether a set holds just what the layout says, slot by slot."""
    cdef uint64_t different = 0
    cdef Py_ssize_t i
    if layout.join < 0 or layout.used != members.used or layout.mask != members.mask:
        return False
    for i in range(layout.used):
        different |= <uint64_t>members.table[layout.slots[i]].key ^ <uint64_t>layout.keys[i]
    return different == 0


cdef int draw(layout_t *layout, PySetObject *members) noexcept:
    """Remember the layout of a set of jobs; -1 when memory is out."""
    cdef Py_ssize_t i
    cdef Py_ssize_t n = 0
    free(layout.slots)
    free(layout.keys)
    layout.join = -1
    layout.slots = <int32_t *>malloc(members.used * sizeof(int32_t))
    layout.keys = <void **>malloc(members.used * sizeof(void *))
    if layout.slots == NULL or layout.keys == NULL:
        return -1
    layout.used = members.used
    layout.mask = members.mask
    for i in range(members.mask + 1):
        # A removed member leaves an object behind that is no job. -1 is no job's hash.
        if members.table[i].key != NULL and members.table[i].hash != -1:
            layout.slots[n] = <int32_t>i
            layout.keys[n] = members.table[i].key
            n += 1
    return 0
