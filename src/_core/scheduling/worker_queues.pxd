from bsbpool._core.scheduling.dispatcher cimport dispatcher_t
from libc.stdint cimport int32_t, uint8_t

cdef enum:
    # Values in place of the last job that a worker has begun.
    BEGUN_UNKNOWN = -1
    BEGUN_NOTHING = -2

cdef int queues_assign(dispatcher_t *d) noexcept nogil
cdef int queues_done(
    dispatcher_t *d, int32_t worker, int32_t job, uint8_t outcome, double run_ns
) noexcept nogil
cdef int queues_undo_send(dispatcher_t *d, int32_t job, uint8_t outcome) noexcept nogil
cdef int queues_stolen(dispatcher_t *d, int32_t worker, int32_t job) noexcept nogil
cdef int32_t queues_last_begun(dispatcher_t *d, int32_t worker, int32_t begun) noexcept nogil
cdef int queues_worker_failed(dispatcher_t *d, int32_t worker, int32_t begun) noexcept nogil
