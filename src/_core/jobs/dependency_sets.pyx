"""Sets of dependencies, shared by the jobs that have the same dependencies.

Thousands of jobs may each depend on the same thousands of jobs. To look at each member for each job
would cost as much as the edges that a join saves. So a set is recognized by its *fingerprint*: its
size and two 64-bit sums over the mixed addresses of its members. The sums do not depend on the
order. The handles of a pool live as long as the pool, so an address identifies a job. Two different
sets of one pool have the same fingerprint only if they agree in 128 bits by chance.

The hash table of a Python set has several times as many slots as members. So the *layout* of the
last set is kept: the slot of each member. A set of the same size whose slots hold the same members
is the same set, even if it is another object.
"""
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.scheduling.engine cimport Engine
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
    SMALLEST_SHARED = 4  # smaller sets do not get a join
    MAX_KNOWN = 1024  # joins to recognize


cdef class DependencySets:
    """Translates the dependencies of new jobs to job ids and joins.

    Parameters
    ----------
    pool : object
        The pool.
    engine : Engine
        The tables of the pool.
    refuse : callable
        ``refuse(deps, item, inside)`` raises for dependencies that are not jobs of this pool: for
        `deps` itself if `inside` is false, else for its member `item`.
    """

    def __cinit__(self, pool, Engine engine not None, refuse):
        self.pool = pool
        self.engine = engine
        self.refuse = refuse
        self.joins = {}
        self.last_join = self.layout.join = -1

    def __dealloc__(self):
        free(self.layout.slots)
        free(self.layout.keys)

    cdef int32_t read(self, object deps, ints_t *ids, Handle job) except -2:
        """Return the join for the dependencies of a job; or -1, with the dependencies in `ids`.

        Sets `job.deps` to a tuple of the dependencies, the same object for all jobs of a join.
        """
        cdef fingerprint_t fingerprint
        cdef Py_ssize_t n = 0
        if deps is None:
            return -1
        if deps is self.last:
            job.deps = self.last_members
            return self.last_join
        if PyList_CheckExact(deps) or PyTuple_CheckExact(deps):
            n = PySequence_Fast_GET_SIZE(deps)
            if n < SMALLEST_SHARED:
                return self.register(tuple(deps), None, ids, job)
            fingerprint = fingerprint_of_items(PySequence_Fast_ITEMS(deps), n)
        elif PyAnySet_CheckExact(deps):
            n = PySet_GET_SIZE(deps)
            if n < SMALLEST_SHARED:
                return self.register(tuple(deps), None, ids, job)
            if matches_layout(&self.layout, <PySetObject *>deps):
                job.deps = self.layout_members
                return self.layout.join
            fingerprint = fingerprint_of_set(<PySetObject *>deps)
        else:
            return self.read(self.as_tuple(deps), ids, job)
        return self.lookup(deps, (n, fingerprint.first, fingerprint.second), ids, job)

    cdef int check(self, Handle job) except -1:
        """Refuse dependencies that are not jobs of the pool; make `job.deps` a tuple."""
        cdef ints_t ids = ints_t(NULL, 0, 0)
        try:
            self.read(job.deps, &ids, job)
        finally:
            ints_free(&ids)
        return 0

    cdef tuple as_tuple(self, object deps):
        """Return an iterable of jobs as a tuple; refuse other objects."""
        if isinstance(deps, Handle) or not hasattr(deps, "__iter__"):
            self.refuse(deps, None, False)
        return tuple(deps)

    cdef int32_t lookup(self, object deps, object key, ints_t *ids, Handle job) except -2:
        """Find the join of a set by its fingerprint `key`, or make one; then remember the set."""
        cdef int32_t join
        entry = self.joins.get(key)
        if entry is None:
            join = self.register(tuple(deps), key, ids, job)
        else:
            join, job.deps = entry
        if join >= 0 and PyAnySet_CheckExact(deps):
            if save_layout(&self.layout, <PySetObject *>deps) < 0:
                raise MemoryError()
            self.layout.join = join
            self.layout_members = job.deps
        # Only an immutable collection can be recognized by its identity.
        if join >= 0 and (PyTuple_CheckExact(deps) or PyFrozenSet_CheckExact(deps)):
            self.last = deps
            self.last_join = join
            self.last_members = job.deps
        return join

    cdef int32_t register(self, tuple deps, object key, ints_t *ids, Handle job) except -2:
        """Check all members of a new set; make a join for it if it is large."""
        cdef int32_t join
        cdef Handle dep
        for item in deps:
            if not isinstance(item, Handle):
                self.refuse(deps, item, True)
            dep = <Handle>item
            if dep.pool is not self.pool or dep.number < 0:
                self.refuse(deps, item, True)
            if ints_push(ids, dep.number) < 0:
                raise MemoryError()
        job.deps = deps
        if key is None:
            remove_duplicates(ids)
            return -1
        numbers = {ids.data[i] for i in range(ids.size)}
        ids.size = 0
        if len(numbers) < SMALLEST_SHARED:
            for number in numbers:
                if ints_push(ids, number) < 0:
                    raise MemoryError()
            return -1
        join = self.engine.add_join(numbers)
        self.joins[key] = join, deps
        if len(self.joins) > MAX_KNOWN:
            del self.joins[next(iter(self.joins))]
        return join


cdef void remove_duplicates(ints_t *ids) noexcept:
    """Remove repeated ids. Quadratic, so only for few ids."""
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


cdef inline void mix(fingerprint_t *p, uint64_t x) noexcept nogil:
    """Add an address to a fingerprint."""
    cdef uint64_t a = x * 0x9E3779B97F4A7C15ULL
    a ^= a >> 32
    p.first += a * 0xD6E8FEB86659FD93ULL
    p.second += (a ^ x) * a


cdef fingerprint_t fingerprint_of_items(PyObject **items, Py_ssize_t n) noexcept:
    cdef fingerprint_t found = fingerprint_t(0, 0)
    cdef Py_ssize_t i
    for i in range(n):
        mix(&found, <uint64_t>items[i])
    return found


cdef fingerprint_t fingerprint_of_set(PySetObject *members) noexcept:
    cdef fingerprint_t found = fingerprint_t(0, 0)
    cdef Py_ssize_t i
    for i in range(members.mask + 1):
        # Empty slots hold NULL, which adds 0. The slots of removed members all hold the address of
        # one object that is no job, so a set with such slots never matches a different set.
        mix(&found, <uint64_t>members.table[i].key)
    return found


cdef bint matches_layout(layout_t *layout, PySetObject *members) noexcept:
    """Return whether a set has the members of the layout, in the same slots."""
    cdef uint64_t different = 0
    cdef Py_ssize_t i
    if layout.join < 0 or layout.used != members.used or layout.mask != members.mask:
        return False
    for i in range(layout.used):
        different |= <uint64_t>members.table[layout.slots[i]].key ^ <uint64_t>layout.keys[i]
    return different == 0


cdef int save_layout(layout_t *layout, PySetObject *members) noexcept:
    """Store the layout of a set of jobs; return -1 if memory is out."""
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
        # The slot of a removed member holds an object that is no job, with the hash -1.
        if members.table[i].key != NULL and members.table[i].hash != -1:
            layout.slots[n] = <int32_t>i
            layout.keys[n] = members.table[i].key
            n += 1
    return 0
