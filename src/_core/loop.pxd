from bsbpool._core.channel cimport Channel
from bsbpool._core.engine cimport Engine
from bsbpool._core.frames cimport FrameReader, FrameWriter
from bsbpool._core.transport cimport message_t
from libc.stdint cimport int64_t, uint32_t

cdef class MainLoop:
    cdef Engine engine
    cdef Channel channel
    cdef object host
    cdef uint32_t epoch
    cdef list writers
    cdef list known_functions
    cdef set touched  # workers with something to send
    cdef int64_t told  # how much of the cache's log all workers were told
    cdef FrameReader reader
    cdef message_t *arrived

    cdef int receive(self) except -1
    cdef int read(self) except -1
    cdef int dispatch(self) except -1
    cdef int send(self, int worker, int64_t job) except -1
    cdef int send_function(self, int worker, uint32_t function) except -1
    cdef int tell_cache(self, int worker) except -1
    cdef FrameWriter writer(self, int worker)
    cdef int flush(self, int worker) except -1
    cdef int wait(self) except -1
