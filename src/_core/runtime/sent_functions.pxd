from bsbpool._core.bits cimport bits_t
from bsbpool._core.runtime.outbox cimport Outbox
from libc.stdint cimport int64_t, uint32_t

cdef class Holders:
    cdef bits_t workers

cdef class SentFunctions:
    cdef Outbox outbox
    cdef object callbacks
    cdef int64_t prelude  # the function that workers load before any other; -1: none
    cdef int64_t *last_sent  # by worker: the function of its last job; -1: none
    cdef dict holders  # by function: the workers that have it
    cdef object last_f  # the function that was looked up last, and its number
    cdef int64_t last_number

    cdef bint find(self, object f) except -1
    cdef Holders holders_of(self, uint32_t function)
    cdef int ensure(self, int worker, uint32_t function) except -1
    cdef int ensure_with_required(self, int worker, uint32_t function) except -1
    cdef int put(self, int worker, uint32_t function) except -1
    cdef int drop_evicted(self) except -1
    cdef int drop(self, uint32_t function) except -1
    cdef int discard_worker(self, int worker) except -1
