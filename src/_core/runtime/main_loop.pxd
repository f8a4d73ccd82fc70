from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.runtime.data_directory cimport DataDirectory
from bsbpool._core.runtime.gang_messages cimport GangMessages
from bsbpool._core.runtime.job_sender cimport JobSender
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.reply_reader cimport ReplyReader
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int64_t, uint32_t

cdef class MainLoop:
    cdef Engine engine
    cdef Channel channel
    cdef object callbacks
    cdef uint32_t run_id
    cdef bint has_jobs
    cdef readonly Outbox outbox
    cdef JobSender sender
    cdef readonly ReplyReader replies
    cdef readonly DataDirectory data
    cdef readonly GangMessages gangs
    cdef FrameReader reader
    cdef message_t *received  # the message that ended a wait
    cdef public object events
    cdef list interrupts  # (job, kind, reason), to be sent
    cdef bint events_pending  # whether something happened that only the callbacks know about
    cdef int64_t events_processed  # when `process_events` was last called without a reason

    cdef bint process_events(self) except -1
    cdef bint has_events(self) noexcept nogil
    cdef int receive(self) except -1
    cdef int check_rank(self, int64_t rank) except -1
    cdef int read(self) except -1
    cdef int update_workers(self) except -1
    cdef int handle_failure(self, int peer) except -1
    cdef int dispatch(self) except -1
    cdef int refuse(self, int64_t job) except -1
    cdef int send_interrupts(self) except -1
    cdef int wait(self) except -1
