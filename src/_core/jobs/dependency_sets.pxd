from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, uint64_t

ctypedef struct print_t:
    uint64_t first
    uint64_t second

ctypedef struct layout_t:
    Py_ssize_t used
    Py_ssize_t mask
    int32_t *slots
    void **keys
    int32_t join  # -1: nothing is remembered

cdef class DependencySets:
    cdef object pool
    cdef Engine engine
    cdef dict joins
    cdef object last  # a set that cannot change
    cdef int32_t last_join
    cdef object last_members
    cdef layout_t layout
    cdef object layout_members

    cdef int32_t read(self, object deps, ints_t *ids, Handle job) except -2
    cdef tuple listed(self, object deps)
    cdef int32_t request_steal(self, object deps, object key, ints_t *ids, Handle job) except -2
    cdef int32_t learn(self, tuple deps, object key, ints_t *ids, Handle waiter) except -2
