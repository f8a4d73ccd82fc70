from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.scheduling.workers cimport worker_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

# The state of one worker.
ctypedef struct outbox_worker_t:
    int64_t last_contact  # when a message was last received from it or sent to it
    int64_t busy_since  # when it got a job while it had none, or last reported that jobs have ended
    bint is_busy  # whether it has jobs that it has not reported
    bint steal_pending  # whether a STEAL_REQUEST has not been answered yet
    uint64_t n_due  # how many DATA records other ranks were asked to send it

cdef class Outbox:
    cdef Channel channel
    cdef uint32_t run_id
    cdef int n_workers
    cdef outbox_worker_t *workers
    cdef list writers  # by worker; `unused` if it has no records
    cdef FrameWriter unused
    cdef list spare  # writers that no worker uses
    cdef set unsent  # workers with records that have not been sent
    cdef uint64_t n_due  # of all workers
    cdef FrameWriter stop_writer

    cdef FrameWriter writer(self, int worker)
    cdef FrameWriter begin(self, int worker, FrameWriter writer)
    cdef int release_writer(self, int worker) except -1
    cdef int put_skip(self, int worker, int64_t job) except -1
    cdef int put_steal_request(self, int worker) except -1
    cdef int discard_pending(self, int worker) except -1
    cdef void begin_busy(self, int worker, const worker_t *slot) noexcept nogil
    cdef void note_received(self, int worker, const worker_t *slot, int64_t n_done) noexcept nogil
    cdef int flush(self, int worker) except -1
    cdef int flush_all(self) except -1
    cdef int put_interrupt(self, int worker, int64_t job, uint32_t kind, bytes reason) except -1
    cdef int put_stop(self, int worker, uint8_t flags, int64_t stop_code) except -1
    cdef int flush_if_due(self) except -1
