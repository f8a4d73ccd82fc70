from bsbpool._core.jobs.dependency_sets cimport DependencySets
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.jobs.times cimport times_t
from libc.stdint cimport int32_t, uint8_t

ctypedef int (*notify_t)(object target) except -1

cdef enum:
    GROUP_BEGINS = 0
    GROUP_ENDED = 1

# Gets each job that has ended, and its status. Before a group of these jobs, and after it, the job
# is None, and the status one of the above.
ctypedef int (*record_end_t)(object journal, object job, uint8_t status) except -1
ctypedef object (*queue_recorded_t)(
    object journal, object f, tuple args, object kwargs, object deps
)


cdef class Submitter:
    cdef Engine engine
    cdef DependencySets sets
    cdef list job_list  # by number
    cdef dict cache_sets  # see `cache_set_of`
    cdef notify_t notify  # called with its target for each job that is added
    cdef object notify_target
    cdef bint accepts
    cdef bint untracked  # whether new jobs are not tracked by the garbage collector
    cdef bint requires_put
    cdef object job_class
    cdef object with_inputs  # `_with_inputs`
    cdef object store
    cdef times_t *times  # NULL unless the pool notes them
    cdef object times_owner
    cdef object journal  # a `JobJournal`, or None
    cdef queue_recorded_t queue_recorded  # queues a call in a pool with a journal
    cdef record_end_t record_end  # NULL without a journal
    cdef object on_job_end  # called with each tracked job that ends, instead of callbacks

    cdef object queue_by_put(self, object f, object args, object kwargs, object deps, dict context)
    cdef Handle new_job(self, object f, tuple arguments, object keywords, object context)
    cdef int submit(self, Handle job, object deps, int32_t cache_set, bint tracked) except -1
    cdef int enter(self, Handle job, int32_t number) except -1
    cdef void notify_of_jobs(self, notify_t notify, object target) noexcept
