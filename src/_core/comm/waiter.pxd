from bsbpool._core.comm.backoff cimport backoff_t
from bsbpool._core.comm.demux cimport Demux
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint32_t

cdef class Waiter:
    cdef Demux demux
    cdef Wakeup wakeup
    cdef backoff_t backoff
    cdef volatile bint woken  # whether another thread has called `wake`

    cdef void wake(self) noexcept nogil
    cdef message_t *wait(self, uint32_t run_id, int64_t until_ns) noexcept nogil
    cdef message_t *sleep(self, uint32_t run_id, int64_t until_ns) noexcept nogil
    cdef int64_t sleep_duration(self, int64_t until_ns) noexcept nogil
    cdef void backoff_wait(self) noexcept nogil
    cdef void reset(self) noexcept nogil
