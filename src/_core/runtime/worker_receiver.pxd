from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport record_t
from bsbpool._core.runtime.data_store cimport DataStore
from bsbpool._core.runtime.inbox cimport Inbox
from bsbpool._core.runtime.progress_thread cimport ProgressThread
from bsbpool._core.runtime.reply_buffer cimport ReplyBuffer
from bsbpool._core.jobs.invoke cimport RunningJob
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAIN = 0  # the rank of the main rank

cdef class WorkerReceiver(ProgressThread):
    cdef Channel channel
    cdef uint32_t run_id
    cdef Inbox inbox
    cdef ReplyBuffer replies
    cdef readonly RunningJob running_job
    cdef DataStore data
    cdef bint stopped  # whether the main rank has ended the run ...
    cdef bint aborted  # ... early
    cdef bint has_missed_deaths  # whether ranks have died of which this rank may not know
    cdef bint has_dead  # whether ranks of this node have died, and the callback is not done
    cdef readonly bint must_report
    cdef public bint may_hold
    cdef readonly int64_t stop_code

    cdef bint receive_all(self, bint busy) noexcept nogil
    cdef bint accept(self, message_t *m, bint busy) noexcept nogil
    cdef bint put_output(
        self, int64_t job, uint32_t stream, const uint8_t *data, uint64_t size
    ) noexcept nogil
    cdef void stop(self, record_t *record) noexcept nogil
    cdef void interrupt(self, record_t *record, const uint8_t *reason) noexcept nogil
    cdef bint accept_notice(self, const record_t *record) noexcept nogil
    cdef bint give_back_jobs(self, bint busy) noexcept nogil
    cdef bint send_replies(self) noexcept nogil
    cdef bint check_processes(self) noexcept nogil
