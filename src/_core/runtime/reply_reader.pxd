from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.runtime.data_directory cimport DataDirectory
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int64_t, uint8_t

cdef class ReplyReader:
    cdef Engine engine
    cdef object callbacks
    cdef Submitter jobs
    cdef FrameReader reader
    cdef DataDirectory data
    cdef public bint check_results
    cdef public bint unpickle_results
    cdef int64_t now  # when the message arrived
    cdef int64_t ended  # when the last job of the message ended, on the worker's clock
    cdef bytes remote
    cdef const uint8_t *is_remote  # the data of `remote`; NULL if all workers are on this node
    cdef int64_t *clock_offsets  # by worker: what to add to its times; NULL like `is_remote`

    cdef bint read(self, int worker, bint direct) except -1
    cdef int set_remote(self, bytes remote) except -1
    cdef int64_t clock_offset(self, int worker) noexcept nogil
    cdef list offsets(self)
    cdef void begin(self, int worker, int64_t now) noexcept nogil
    cdef void end(self, int worker) noexcept nogil
    cdef int64_t read_start(self) noexcept nogil
    cdef int note_times(self, int worker, int64_t started) except -1
    cdef void measure_clock(self, int worker) noexcept nogil
    cdef bint store(self) except -1
    cdef bint is_used(self, int64_t job) noexcept
    cdef int64_t stayed_size(self) except -1
    cdef bint store_scalars(self, Handle job) except -1
    cdef object load(self, payload, list buffers)
    cdef bint store_pickle(self, Handle job, payload, list buffers) except -1
