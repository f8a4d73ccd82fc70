"""The replies of a worker that have not been sent yet."""
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.wire cimport DONE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef class ReplyBuffer(FrameWriter):
    """Collects replies into one message."""

    cdef int put_reply(
        self, int64_t job, uint8_t flags, int64_t run_ns, payload, buffers, uint32_t kib,
        int64_t now,
    ) except -1:
        """Add the reply of a job that ran for `run_ns` and had `kib` KiB of arguments."""
        self.note_time(now)
        self.put(DONE, job, kib, flags, <uint64_t>run_ns, payload, buffers)
        return 0
