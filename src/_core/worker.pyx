"""A worker's loop: receive, run, reply.

Jobs wait here in the order in which they came. Replies are collected, and sent
at once when there is nothing else to do, before and after jobs of functions that
take long (or are not known yet), and when the collected ones get old or big. So a
result waits behind a long job only when its function had been quick until then.

The *host* knows what the bytes mean. Its methods:

``load(flags, payload, buffers) -> object``
    A function of that payload, as `run` wants it. It never raises.
``run(job, function, flags, payload, buffers) -> (ok, payload, buffers)``
    Run a job. Whatever the job raises is in what is returned.
``needed(tokens)`` and ``unneeded(tokens)``
    Cache items (memoryviews of 64-bit numbers) that jobs need from here on, and
    those that no job needs any more.
"""
from bsbpool._core.channel cimport Channel
from bsbpool._core.frames cimport FrameReader, FrameWriter
from bsbpool._core.pause cimport now_ns, pause_slack, pause_wait
from bsbpool._core.transport cimport message_t
from bsbpool._core.wire cimport DONE, FORGET, FUNCTION, JOB, LEAVE, NEEDED, SKIP, STOP, UNNEEDED
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint32_t, uint64_t

from collections import deque

cdef enum:
    MAIN = 0
    LONG_JOB_NS = 50_000
    OLD_REPLY_NS = 200_000
    FULL_FRAME = 32 * 1024
    LOOK_NS = 20_000  # how often the inbox is looked at between short jobs
    SIGNALS_NS = 20_000_000
    SKIPPED = 2


cdef class WorkerLoop:
    """Runs jobs for the main rank until that says stop.

    Parameters
    ----------
    channel : Channel
        The communicator's messages.
    epoch : int
        The pool's epoch on that channel.
    host : object
        See the module's text.
    """

    cdef Channel channel
    cdef uint32_t epoch
    cdef object host
    cdef dict functions
    cdef dict run_times  # of each function, in ns
    cdef object waiting
    cdef set skipped
    cdef FrameWriter replies
    cdef FrameReader reader
    cdef int64_t oldest_reply
    cdef int64_t looked
    cdef int stopped

    def __init__(self, Channel channel not None, uint32_t epoch, host):
        self.channel = channel
        self.epoch = epoch
        self.host = host
        self.functions = {}
        self.run_times = {}
        self.waiting = deque()
        self.skipped = set()
        self.replies = FrameWriter()
        self.reader = FrameReader()
        self.stopped = -1

    def run(self):
        """Serve until told to stop; return whether the run was aborted."""
        cdef int slack
        self.channel.occupy()
        slack = pause_slack(1)
        try:
            while True:
                if not self.waiting or now_ns() - self.looked > LOOK_NS:
                    self.receive()
                if self.stopped >= 0:
                    return bool(self.stopped)
                if self.waiting:
                    self.run_one()
                else:
                    self.skipped.clear()  # they came too late: a SKIP follows its job
                    self.flush()
                    if not self.waiting and self.stopped < 0:  # flush receives, too
                        self.wait()
        finally:
            self.channel.vacate()
            pause_slack(<unsigned long>slack)

    def leave(self, bytes reason):
        """Tell main that this rank stops serving though the run is not over."""
        self.replies.put(LEAVE, 0, 0, 0, 0, reason, ())
        # Without looking at the inbox first: its failure may be why this rank leaves.
        self.channel.post(self.replies.seal(MAIN, self.epoch))
        self.channel.drain(1.0)

    cdef int receive(self) except -1:
        cdef message_t *m
        while True:
            with nogil:
                m = self.channel.poll(self.epoch)
            if m == NULL:
                break
            self.reader.open(m)
            self.read()
        self.looked = now_ns()
        self.channel.check()
        self.channel.reap()
        return 0

    cdef int read(self) except -1:
        cdef FrameReader r = self.reader
        while r.next():
            if r.record.kind == JOB:
                payload, buffers = r.payload(), r.buffers()
                size = len(payload) + sum([len(buffer) for buffer in buffers])
                self.waiting.append((
                    r.record.id, r.record.aux, self.functions[r.record.aux],
                    r.record.flags & 0x7F, payload, buffers, size >> 10,
                ))
            elif r.record.kind == FUNCTION:
                self.functions[r.record.aux] = self.host.load(
                    r.record.flags & 0x7F, r.payload(), r.buffers()
                )
            elif r.record.kind == FORGET:
                self.functions.pop(r.record.aux, None)
                self.run_times.pop(r.record.aux, None)
            elif r.record.kind == NEEDED:
                self.host.needed(memoryview(r.payload()).cast("B").cast("Q"))
            elif r.record.kind == UNNEEDED:
                self.host.unneeded(memoryview(r.payload()).cast("B").cast("Q"))
            elif r.record.kind == SKIP:
                self.skipped.add(r.record.id)
            elif r.record.kind == STOP:
                self.stopped = r.record.flags & 1
        return 0

    cdef int run_one(self) except -1:
        cdef int64_t job
        cdef int64_t start
        cdef int64_t took
        cdef int64_t expected
        job, number, function, flags, payload, buffers, kib = self.waiting.popleft()
        expected = self.run_times.get(number, LONG_JOB_NS)
        if expected >= LONG_JOB_NS:
            self.flush()  # what is done must not wait for this one
            if self.stopped >= 0:
                return 0
        if job in self.skipped:
            self.skipped.discard(job)
            self.replies.put(DONE, job, 0, SKIPPED, 0, None, ())
            return 0
        start = now_ns()
        ok, result, parts = self.host.run(job, function, flags, payload, buffers)
        took = now_ns() - start
        # Long runs are believed at once, short ones little by little.
        self.run_times[number] = took if took > expected else expected + (took - expected) // 4
        if self.replies.frame.n_records == 0:
            self.oldest_reply = start + took
        self.replies.put(DONE, job, kib, ok, <uint64_t>took, result, parts)
        if (
            took > LONG_JOB_NS
            or parts
            or self.replies.frame.size > FULL_FRAME
            or start + took - self.oldest_reply > OLD_REPLY_NS
        ):
            self.flush()
        return 0

    cdef int flush(self) except -1:
        """Send the replies, and see them off: a job may now keep MPI waiting for long."""
        if self.replies.frame.n_records == 0:
            return 0
        self.receive()
        if self.stopped >= 0:
            return 0  # nobody waits for them
        self.channel.post(self.replies.seal(MAIN, self.epoch))
        while self.channel.table.pending(self.channel.table):
            # Main takes large messages as soon as it looks; what it sends
            # meanwhile must be received, or both sides would wait for ever.
            self.receive()
            if self.stopped >= 0:
                break  # main may not look any more
            if self.channel.table.pending(self.channel.table):
                with nogil:
                    pause_wait(&self.channel.pause)
                PyErr_CheckSignals()
        self.channel.reap()
        return 0

    cdef int wait(self) except -1:
        cdef message_t *m
        cdef int64_t until = now_ns() + SIGNALS_NS
        with nogil:
            m = self.channel.wait(self.epoch, until)
        PyErr_CheckSignals()
        if m != NULL:
            self.reader.open(m)
            self.read()
        return 0
