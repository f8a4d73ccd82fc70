cimport cython
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.wire cimport EAGER_FRAME, MOST_AFTER_NS, timing_pack
from bsbpool._core.runtime.loaded_functions cimport LONG_JOB_NS
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_REPLIES = 64
    MAX_REPLY_AGE_NS = 200_000
    LONGEST_HOLD_NS = 60_000_000_000


@cython.final
cdef class ReplyBuffer(FrameWriter):
    cdef uint8_t kind  # of the replies that `put_reply` adds
    cdef int64_t oldest_ns  # when the oldest reply was added
    cdef int64_t ended_ns  # when the last job ended
    cdef uint32_t n_held  # the replies that may be held back ...
    cdef int64_t hold_until  # ... and until when
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
            self.frame.time_ns = self.ended_ns = start
            self.n_held = 0
        cdef uint64_t timing = timing_pack(end - start, start - self.ended_ns)
        self.ended_ns = end
        return timing

    cdef inline void hold(self, int64_t now, uint64_t ns) noexcept nogil:
        """Let the reply that was added last wait for `ns`, as main allows for its job."""
        cdef int64_t until = now + <int64_t>min(ns, <uint64_t>LONGEST_HOLD_NS)
        if self.n_held == 0 or until < self.hold_until:
            self.hold_until = until
        self.n_held += 1

    cdef inline bint is_too_late(self, int64_t now) noexcept nogil:
        """Whether a reply that is added later could not tell when its job began."""
        return self.frame.time_ns != 0 and now - self.ended_ns > MOST_AFTER_NS

    cdef inline bint may_wait(self, int64_t until) noexcept nogil:
        """Whether none of the records must be sent before a time."""
        return (
            self.frame.time_ns != 0 and self.n_held == self.frame.n_records
            and until < self.hold_until
        )

    cdef inline bint is_due(self, int64_t now, int64_t run_ns) noexcept nogil:
        """Whether the replies must be sent now, after a job that ran for `run_ns`.

        They must if they are many or large; also if they are old or the job was long, unless main
        allows them to wait.
        """
        return (
            self.frame.n_records >= MAX_REPLIES
            or self.frame.n_parts
            or self.frame.size > EAGER_FRAME
            or (
                (now - self.oldest_ns > MAX_REPLY_AGE_NS or run_ns > LONG_JOB_NS)
                and not self.may_wait(now)
            )
        )

    cdef int put_reply(
        self, int64_t job, uint8_t flags, int64_t run_ns, payload, buffers, uint32_t kib,
        int64_t now,
    ) except -1

    cdef void note_peak(self, int64_t now) noexcept nogil
