from bsbpool._core.locking.global_queue cimport GlobalQueue
from bsbpool._core.locking.node_lock cimport NodeLock

cdef class RankLock:
    cdef readonly int rank, master
    cdef readonly bint closed
    cdef readonly int read_depth, write_depth
    cdef NodeLock node
    cdef GlobalQueue queue
    cdef object progress, warn, begin_span
    cdef int process

    cpdef acquire(self, bint write)
    cpdef release(self)
