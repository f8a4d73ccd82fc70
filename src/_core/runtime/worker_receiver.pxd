from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.runtime.inbox cimport Inbox
from bsbpool._core.runtime.progress_thread cimport ProgressThread
from bsbpool._core.runtime.reply_buffer cimport ReplyBuffer
from libc.stdint cimport int64_t, uint32_t

cdef enum:
    MAIN = 0  # the rank of the main rank

cdef class WorkerReceiver(ProgressThread):
    cdef Channel channel
    cdef uint32_t run_id
    cdef Inbox inbox
    cdef ReplyBuffer replies
    cdef int64_t processes_checked  # when
    cdef bint stopped  # whether the main rank has ended the run ...
    cdef bint aborted  # ... early
    cdef readonly int64_t stop_code

    cdef bint receive_all(self, bint busy) noexcept nogil
    cdef bint accept(self, message_t *m, bint busy) noexcept nogil
    cdef bint give_back_jobs(self, bint busy) noexcept nogil
    cdef bint send_replies(self) noexcept nogil
    cdef bint check_processes(self) noexcept nogil
