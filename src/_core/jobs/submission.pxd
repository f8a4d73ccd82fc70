from bsbpool._core.jobs.dependency_sets cimport DependencySets
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.jobs.handle cimport Handle
from libc.stdint cimport int32_t

ctypedef int (*notify_t)(object target) except -1

cdef class Submitter:
    cdef readonly Engine _engine
    cdef readonly DependencySets _sets
    cdef public list _job_queue
    cdef notify_t notify  # called with its target for each job that is submitted
    cdef object notify_target
    cdef bint accepts
    cdef bint untracked
    cdef bint puts
    cdef object kind
    cdef public object _store
    cdef public object _on_end  # called with each tracked job that has ended, in place of callbacks

    cdef Handle new_job(self, object f, tuple arguments, object keywords, object context)
    cdef int enter(self, Handle job, object deps, int32_t cache_set, bint tracked) except -1
    cdef void notify_of_jobs(self, notify_t notify, object target) noexcept
