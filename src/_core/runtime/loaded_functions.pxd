cimport cython
from bsbpool._core.protocol.frames cimport FrameReader
from libc.stdint cimport int64_t, uint32_t

cdef enum:
    LONG_JOB_NS = 50_000  # longer jobs do not run while replies wait to be sent


@cython.final
cdef class Function:
    cdef object loaded  # the return value of `load_function`
    cdef object f  # the function itself if the loop may call it directly, else None
    cdef bytes name
    cdef int64_t run_ns  # an estimate of how long its next job takes here

    cdef inline void add_run(self, int64_t run_ns) noexcept nogil:
        """Update the estimate: a longer run counts at once, a shorter one by a quarter."""
        if run_ns > self.run_ns:
            self.run_ns = run_ns
        else:
            self.run_ns += (run_ns - self.run_ns) // 4

cdef class LoadedFunctions:
    cdef object callbacks
    cdef dict functions
    cdef Function last
    cdef int64_t last_number

    cdef int load(self, FrameReader reader, bint direct, bint named) except -1
    cdef int drop(self, uint32_t number) except -1
    cdef Function get(self, uint32_t number, bint report_name)
