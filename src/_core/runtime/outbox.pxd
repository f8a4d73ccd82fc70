from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from libc.stdint cimport int64_t, uint32_t

# What main remembers of a worker beside its slot.
ctypedef struct peer_t:
    int64_t heard  # when it was heard of or sent to last
    int64_t function  # what its last job called; -1: nothing
    bint steal_pending  # it was asked for jobs, and has not answered

cdef class Outbox:
    cdef Engine engine
    cdef Channel channel
    cdef object host
    cdef uint32_t run_id
    cdef Submitter jobs
    cdef bint direct
    cdef bint failed
    cdef object last_f  # the function that was called last, and its number
    cdef int64_t last_function
    cdef int64_t prelude  # what each worker gets before any function; -1: nothing
    cdef peer_t *peers
    cdef list writers
    cdef list sent_functions
    cdef set touched  # workers with something to send
    cdef int64_t told  # how much of the cache's log all workers were told

    cdef FrameWriter writer(self, int worker)
    cdef int send(self, int worker, int64_t job) except -1
    cdef bint is_cancelled(self, int64_t job) except -1
    cdef bint send_scalars(self, FrameWriter writer, int worker, Handle job) except -1
    cdef int send_parcel(self, FrameWriter writer, int worker, int64_t job) except -1
    cdef int call_number(self, object f) except -1
    cdef int know(self, int worker, uint32_t function) except -1
    cdef int introduce(self, int worker, uint32_t function) except -1
    cdef int teach(self, int worker, uint32_t function) except -1
    cdef int drop_evicted(self) except -1
    cdef int forget(self, uint32_t function) except -1
    cdef int tell_cache(self, int worker) except -1
    cdef int skip(self, int worker, int64_t job) except -1
    cdef int request_steal(self, int worker) except -1
    cdef int lose(self, int worker) except -1
    cdef int flush(self, int worker) except -1
    cdef int flush_all(self) except -1
    cdef int stop(self, bint aborted, int64_t stop_code) except -1
