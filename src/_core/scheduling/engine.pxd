from bsbpool._core.scheduling.dispatcher_tables cimport action_t, change_t, dispatcher_t
from libc.stdint cimport int32_t, int64_t


cdef class Engine:
    cdef dispatcher_t d
    cdef tuple statuses
    cdef int64_t unneeded_read  # changes of the cache log that `pop_unneeded` has read

    cdef int64_t detach_actions(self, action_t **actions) except -1
    cdef int64_t detach_changes(self, change_t **changes) noexcept
    cdef int check_job(self, int64_t job) except -1
    cdef int check_worker(self, int32_t worker) except -1
    cdef int raise_fault(self) except -1
