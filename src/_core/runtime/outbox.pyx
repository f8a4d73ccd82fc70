"""The messages from the main rank to the workers of one pool."""
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.wire cimport INTERRUPT, SKIP, STEAL_REQUEST, STOP
from bsbpool._core.scheduling.workers cimport worker_t
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free

from bsbpool._core.comm.channel import TransportError

cdef enum:
    MAX_SPARE = 64  # writers that are kept for later messages


cdef class Outbox:
    """Collects records in one frame for each worker, until the frame is flushed.

    Only workers with records that have not been sent have a writer.

    Parameters
    ----------
    channel : Channel
        The messages of the communicator.
    run_id : int
        The pool's run on that channel.
    n_workers : int
        The number of workers; worker w is rank w + 1.
    """

    def __init__(self, Channel channel not None, uint32_t run_id, int n_workers):
        if self.workers != NULL:
            raise RuntimeError("an Outbox can be initialized only once")
        if n_workers < 1:
            raise ValueError(f"n_workers must be at least 1, got {n_workers}")
        self.channel = channel
        self.run_id = run_id
        self.n_workers = n_workers
        self.workers = <outbox_worker_t *>calloc(n_workers, sizeof(outbox_worker_t))
        if self.workers == NULL:
            raise MemoryError()
        self.unused = FrameWriter()
        self.writers = [self.unused] * n_workers
        self.spare = []
        self.unsent = set()
        self.stop_writer = FrameWriter()

    def __dealloc__(self):
        free(self.workers)

    cdef FrameWriter writer(self, int worker):
        """Return the writer of the next message to a worker."""
        cdef FrameWriter writer = <FrameWriter>self.writers[worker]
        if writer.frame.n_records == 0:
            return self.begin(worker, writer)
        return writer

    cdef FrameWriter begin(self, int worker, FrameWriter writer):
        """Return the writer of a message that has no records yet."""
        self.unsent.add(worker)
        if writer is self.unused:
            writer = <FrameWriter>self.spare.pop() if self.spare else FrameWriter()
            self.writers[worker] = writer
        return writer

    cdef int release_writer(self, int worker) except -1:
        """Let other workers use the writer of a worker, whose records have been sent."""
        writer = self.writers[worker]
        self.writers[worker] = self.unused
        if writer is not self.unused and len(self.spare) < MAX_SPARE:
            self.spare.append(writer)
        return 0

    cdef int put_skip(self, int worker, int64_t job) except -1:
        """Let a worker skip a job if it has not begun."""
        if self.writer(worker).put_scalars(SKIP, job, 0, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0

    cdef int put_interrupt(self, int worker, int64_t job, uint32_t kind, bytes reason) except -1:
        """Interrupt a job that a worker runs; it skips the job if that has not begun."""
        self.writer(worker).put(INTERRUPT, job, kind, 0, 0, reason, ())
        return 0

    cdef int put_steal_request(self, int worker) except -1:
        """Ask a worker for the jobs that it has not begun."""
        self.workers[worker].steal_pending = True
        if self.writer(worker).put_scalars(STEAL_REQUEST, 0, 0, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0

    cdef void begin_busy(self, int worker, const worker_t *slot) noexcept nogil:
        """Note that a worker gets a job while it has none, unless the job was taken back."""
        self.workers[worker].is_busy = slot.in_flight > 0
        self.workers[worker].busy_since = self.channel.now()

    cdef void note_received(self, int worker, const worker_t *slot, int64_t n_done) noexcept nogil:
        """Note that a message of a worker was read; before it had run `n_done` jobs."""
        cdef outbox_worker_t *w = &self.workers[worker]
        w.steal_pending = False
        w.is_busy = slot.in_flight > 0
        if slot.n_done != n_done:
            w.busy_since = w.last_contact

    def busy_seconds(self, int worker):
        """Return for how long a worker has had its present job, as far as messages tell."""
        if not 0 <= worker < self.n_workers:
            raise IndexError(f"there is no worker {worker}")
        if not self.workers[worker].is_busy:
            return 0.0
        return max(self.channel.now() - self.workers[worker].busy_since, 0) * 1e-9

    cdef int discard_pending(self, int worker) except -1:
        """Discard the records that have not been sent to a worker, which has failed."""
        self.writers[worker] = self.unused
        self.unsent.discard(worker)
        return 0

    cdef int flush(self, int worker) except -1:
        """Send the records for a worker, if there are any."""
        cdef FrameWriter writer = <FrameWriter>self.writers[worker]
        if writer.frame.n_records:
            self.workers[worker].last_contact = self.channel.now()
            self.channel.post(writer.seal(worker + 1, self.run_id))
        return 0

    cdef int flush_all(self) except -1:
        """Send the records for all workers."""
        cdef int worker
        if self.unsent:
            for worker in self.unsent:
                self.flush(worker)
                self.release_writer(worker)
            self.unsent.clear()
        return 0

    cdef int put_stop(self, int worker, uint8_t flags, int64_t stop_code) except -1:
        """Send STOP to a worker, in place of the records that have not been sent."""
        cdef message_t *m = NULL
        cdef uint64_t n_due = self.workers[worker].n_due
        if self.stop_writer.put_scalars(STOP, stop_code, 0, flags, n_due, NULL, 0) == 0:
            m = self.stop_writer.seal_scalars(worker + 1, self.run_id)
        if m == NULL:
            raise MemoryError()
        self.channel.send(m)  # if the network fails, the other workers must stop all the same
        return 0

    cdef int flush_if_due(self) except -1:
        """Send the records for all workers if data are to be sent: STOP says how many."""
        if self.n_due:
            try:
                return self.flush_all()
            except TransportError:
                return 0
        return 0
