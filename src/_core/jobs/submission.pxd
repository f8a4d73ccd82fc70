from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.jobs.dependency_sets cimport DependencySets
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.jobs.handle cimport Handle
from libc.stdint cimport int32_t

cdef class Submitter:
    cdef readonly Engine _engine
    cdef readonly DependencySets _sets
    cdef public list _job_queue
    cdef Channel channel
    cdef bint accepts
    cdef bint untracked
    cdef bint puts
    cdef object kind
    cdef public object _store
    cdef public object _on_end  # called with each tracked job that has ended, in place of callbacks

    cdef Handle new_job(self, object f, tuple arguments, object keywords, object context)
    cdef int enter(self, Handle job, object deps, int32_t cache_set, bint tracked) except -1
