from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.journal.keys cimport JobKeys
from bsbpool._core.journal.layout cimport body_t
from bsbpool._core.journal.records cimport RecordBuffer
from libc.stdint cimport int64_t, uint8_t, uint32_t


cdef class EndRecorder:
    cdef Submitter pool
    cdef readonly JobKeys keys
    cdef readonly RecordBuffer buffer
    cdef object callbacks
    cdef dict names  # (function, number of its name) by the id of the function
    cdef object last_function
    cdef uint32_t last_name
    cdef int64_t limit
    cdef int64_t group_ns  # when the present group of ends was read
    cdef public bint every_group
    cdef public bint active
    cdef readonly int64_t n_recorded

    cdef int prepare(self, body_t *body, int64_t number, uint8_t status, int64_t time_ns) except -1
    cdef uint32_t name_of(self, Handle job) except? 0
    cdef int end(self, Handle job, uint8_t status) except -1
    cdef int append(self, body_t *body, const void *payload, bytes text) except -1
    cdef int limit_buffer(self) except -1

cdef int record_end(object target, object job, uint8_t status) except -1
