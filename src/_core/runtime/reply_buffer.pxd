cimport cython
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.wire cimport EAGER_FRAME, timing_pack
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_REPLIES = 64
    MAX_REPLY_AGE_NS = 200_000


@cython.final
cdef class ReplyBuffer(FrameWriter):
    cdef uint8_t kind  # of the replies that `put_reply` adds
    cdef int64_t oldest_ns  # when the oldest reply was added
    cdef uint64_t peak  # the largest resident memory of this process in KiB
    cdef int64_t peak_read

    cdef inline void note_time(self, int64_t now) noexcept nogil:
        """Note when a record is added; must be called before that."""
        if self.frame.n_records == 0:
            self.oldest_ns = now

    cdef inline uint64_t note_run(self, int64_t start, int64_t end) noexcept nogil:
        """Return the timing of a reply that is about to be added, for the field `extra`."""
        self.note_time(end)
        if self.frame.time_ns == 0:
            self.frame.time_ns = start
        return timing_pack(end - start, start - self.frame.time_ns)

    cdef inline bint is_due(self, int64_t now) noexcept nogil:
        """Whether the replies are so many, so large or so old that they must be sent."""
        return (
            self.frame.n_records >= MAX_REPLIES
            or self.frame.n_parts
            or self.frame.size > EAGER_FRAME
            or now - self.oldest_ns > MAX_REPLY_AGE_NS
        )

    cdef int put_reply(
        self, int64_t job, uint8_t flags, int64_t run_ns, payload, buffers, uint32_t kib,
        int64_t now,
    ) except -1

    cdef void note_peak(self, int64_t now) noexcept nogil
