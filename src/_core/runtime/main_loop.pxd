from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint32_t

cdef class MainLoop:
    cdef Engine engine
    cdef Channel channel
    cdef object host
    cdef uint32_t run_id
    cdef Submitter jobs
    cdef Outbox out
    cdef FrameReader reader
    cdef message_t *arrived
    cdef public bint checks
    cdef public bint unpickles
    cdef bint news  # something happened that only `turn` tells
    cdef int64_t turned
    cdef int64_t next_steal

    cdef int receive(self) except -1
    cdef int poll_failures(self) except -1
    cdef int lose(self, int peer) except -1
    cdef int read(self) except -1
    cdef int done(self, int worker) except -1
    cdef bint store(self) except -1
    cdef bint store_pickle(self, Handle job, payload, list buffers) except -1
    cdef int dispatch(self) except -1
    cdef bint over(self) except -1
    cdef bint stalls(self) noexcept nogil
    cdef int request_steal(self) except -1
    cdef int wait(self) except -1
