from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.scheduling.engine cimport Engine

cdef class ReplyReader:
    cdef Engine engine
    cdef object callbacks
    cdef Submitter jobs
    cdef FrameReader reader
    cdef bint check_results
    cdef bint unpickle_results

    cdef bint read(self, int worker, bint direct) except -1
    cdef bint store(self) except -1
    cdef bint store_pickle(self, Handle job, payload, list buffers) except -1
