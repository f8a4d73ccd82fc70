from bsbpool._core.bits cimport bits_t
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int64_t

cdef class CacheNotices:
    cdef Engine engine
    cdef Outbox outbox
    cdef int64_t n_sent_to_all  # how many changes have been sent to all workers that get them
    cdef bits_t told  # the workers that get each change: those that know of an item
    cdef set needed  # the tokens of the items that are needed now, after `n_read` changes
    cdef int64_t n_read
    cdef int64_t seen  # the change from which on `changes` has them
    cdef int64_t size  # and the number of changes when it was made
    cdef tuple changes  # the payloads about needed and unneeded items

    cdef int put(self, int worker) except -1
    cdef int put_all(self) except -1
    cdef int put_changes(self, int worker, int64_t seen) except -1
    cdef int read(self) except -1
    cdef tuple changes_since(self, int64_t seen)
