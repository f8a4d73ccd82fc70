from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, uint64_t

ctypedef struct fingerprint_t:
    uint64_t first
    uint64_t second

ctypedef struct layout_t:
    Py_ssize_t used
    Py_ssize_t mask
    int32_t *slots
    void **keys
    int32_t join  # -1 if there is no layout

cdef class DependencySets:
    cdef object pool
    cdef Engine engine
    cdef object refuse
    cdef dict joins  # (size, fingerprint) to (join, members)
    cdef object last  # the last immutable collection, with its join and its members
    cdef int32_t last_join
    cdef object last_members
    cdef layout_t layout  # of the last set
    cdef object layout_members

    cdef int32_t read(self, object deps, ints_t *ids, Handle job) except -2
    cdef int check(self, Handle job) except -1
    cdef tuple as_tuple(self, object deps)
    cdef int32_t lookup(self, object deps, object key, ints_t *ids, Handle job) except -2
    cdef int32_t register(self, tuple deps, object key, ints_t *ids, Handle job) except -2
