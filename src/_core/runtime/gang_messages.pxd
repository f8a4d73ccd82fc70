from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.runtime.job_sender cimport JobSender
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.runtime.reply_reader cimport ReplyReader
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.gang_tables cimport gang_t
from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef class Communicators:
    cdef dict serials  # by the members
    cdef dict members  # by the serial number
    cdef dict of_worker  # the serial numbers of each worker, that used last at the end
    cdef uint64_t last

    cpdef tuple use(self, tuple members)
    cpdef int remove(self, serial) except -1


cdef class RunningGang:
    cdef tuple members
    cdef object serial
    cdef bint gathers
    cdef list parts
    cdef bint discards
    cdef tuple secondary  # the first error that MPI has raised because of another member


cdef class GangMessages:
    cdef Engine engine
    cdef Outbox outbox
    cdef JobSender sender
    cdef FrameReader reader
    cdef ReplyReader replies
    cdef Submitter jobs
    cdef object callbacks
    cdef Communicators communicators
    cdef dict running  # by the number of the job
    cdef readonly dict failing  # when the main rank gives up the members of a failed job

    cdef int send(self, int64_t job) except -1
    cdef int put(self, int64_t job, RunningGang gang, list encoded) except -1
    cdef int undo(self, int64_t job, uint8_t outcome) except -1
    cdef bint read(self, int worker) except -1
    cdef uint8_t store(self, int worker, int64_t job, gang_t *gang) except? 255
    cdef bint interrupt(self, int64_t job, kind, bytes reason) except -1
    cdef int fail_others(self, int worker, int64_t job, bytes reason) except -1
    cdef bint is_failing(self, int worker) noexcept
    cdef int64_t begin_loss(self, int worker) except -2
    cdef int end_loss(self, int worker, int64_t job) except -1
    cdef int forget_ended(self, int64_t job) except -1
    cdef int put_free(self, serial, tuple members, uint8_t flags) except -1
