"""The replies of a worker that have not been sent yet."""
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.wire cimport DONE
from bsbpool._core.runtime.peak_memory cimport largest_resident_kib
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    PEAK_NS = 100_000_000


cdef class ReplyBuffer(FrameWriter):
    """Collects replies into one message."""

    def __cinit__(self):
        self.kind = DONE

    cdef int put_reply(
        self, int64_t job, uint8_t flags, int64_t run_ns, payload, buffers, uint32_t kib,
        int64_t now,
    ) except -1:
        """Add the reply of a job that ran for `run_ns` and had `kib` KiB of arguments."""
        cdef uint64_t timing = self.note_run(now - run_ns, now)
        self.put(self.kind, job, kib, flags, timing, payload, buffers)
        return 0

    cdef void note_peak(self, int64_t now) noexcept nogil:
        """Note the largest resident memory of this process, asked for ten times per second."""
        if now - self.peak_read > PEAK_NS:
            self.peak_read = now
            self.peak = largest_resident_kib()
        self.frame.peak_kib = self.peak
