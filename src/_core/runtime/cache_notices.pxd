from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int64_t

cdef class CacheNotices:
    cdef Engine engine
    cdef Outbox outbox
    cdef int64_t n_sent_to_all  # how many changes all workers have been sent

    cdef int put(self, int worker) except -1
    cdef int put_all(self) except -1
