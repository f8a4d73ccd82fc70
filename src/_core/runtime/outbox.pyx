"""The messages from the main rank to the workers of one pool."""
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.wire cimport SKIP, STEAL_REQUEST, STOP, STOP_ABORTED
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

from bsbpool._core.comm.channel import TransportError


cdef class Outbox:
    """Collects records in one frame for each worker, until the frame is flushed.

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
        self.writers = [FrameWriter() for _ in range(n_workers)]
        self.unsent = set()

    def __dealloc__(self):
        free(self.workers)

    cdef FrameWriter writer(self, int worker):
        """Return the writer of the next message to a worker."""
        cdef FrameWriter writer = <FrameWriter>self.writers[worker]
        if writer.frame.n_records == 0:
            self.unsent.add(worker)
        return writer

    cdef int put_skip(self, int worker, int64_t job) except -1:
        """Let a worker skip a job if it has not begun."""
        if self.writer(worker).put_scalars(SKIP, job, 0, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0

    cdef int put_steal_request(self, int worker) except -1:
        """Ask a worker for the jobs that it has not begun."""
        self.workers[worker].steal_pending = True
        if self.writer(worker).put_scalars(STEAL_REQUEST, 0, 0, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0

    cdef int discard_pending(self, int worker) except -1:
        """Discard the records that have not been sent to a worker, which has failed."""
        self.writers[worker] = FrameWriter()
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
            self.unsent.clear()
        return 0

    cdef int stop(self, bint aborted, int64_t stop_code) except -1:
        """Send STOP to all workers, in place of the records that have not been sent."""
        cdef int worker
        cdef FrameWriter writer
        for worker in range(self.n_workers):
            writer = FrameWriter()
            writer.put(STOP, stop_code, 0, STOP_ABORTED if aborted else 0, 0, None, ())
            try:
                self.channel.post(writer.seal(worker + 1, self.run_id))
            except TransportError:
                continue  # the other workers must stop all the same
        self.channel.release_sent()
        return 0
