"""The functions that the main rank has sent to each worker."""
from bsbpool._core.bits cimport (
    NO_BIT,
    bits_add,
    bits_free,
    bits_has,
    bits_next,
    bits_open,
    bits_remove,
)
from bsbpool._core.protocol.wire cimport FORGET, FUNCTION
from bsbpool._core.runtime.outbox cimport Outbox
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc


cdef class Holders:
    """The workers that have a function."""

    def __dealloc__(self):
        bits_free(&self.workers)


cdef class SentFunctions:
    """Sends a function to a worker before the first job that calls it.

    Parameters
    ----------
    outbox : Outbox
        The messages to the workers.
    callbacks : LoopCallbacks
        Number and pickle functions.
    """

    def __init__(self, Outbox outbox not None, callbacks):
        cdef int i
        if self.last_sent != NULL:
            raise RuntimeError("SentFunctions can be initialized only once")
        self.outbox = outbox
        self.callbacks = callbacks
        self.last_f = None
        self.last_number = self.prelude = -1
        self.holders = {}
        self.last_sent = <int64_t *>malloc(outbox.n_workers * sizeof(int64_t))
        if self.last_sent == NULL:
            raise MemoryError()
        for i in range(outbox.n_workers):
            self.last_sent[i] = -1

    def __dealloc__(self):
        free(self.last_sent)

    cdef bint find(self, object f) except -1:
        """Set `last_f` and `last_number`; return False for a function that workers do not keep."""
        cdef int64_t number = self.callbacks.function_number(f)
        if number < 0:
            return False
        self.drop_evicted()
        self.last_f = f
        self.last_number = number
        return True

    cdef int ensure(self, int worker, uint32_t function) except -1:
        """Send a function, and the prelude, if the worker does not have them."""
        if self.last_sent[worker] == function:
            return 0
        if self.prelude >= 0:
            self.ensure_with_required(worker, <uint32_t>self.prelude)
        self.ensure_with_required(worker, function)
        self.last_sent[worker] = function
        return 0

    cdef int ensure_with_required(self, int worker, uint32_t function) except -1:
        """Send a function after those that it requires, if the worker does not have it."""
        if bits_has(&self.holders_of(function).workers, worker):
            return 0
        for required in self.callbacks.required_functions(function):
            if not bits_has(&self.holders_of(required).workers, worker):
                self.put(worker, required)
        self.put(worker, function)
        return 0

    cdef Holders holders_of(self, uint32_t function):
        """Return the workers that have a function."""
        cdef Holders holders = self.holders.get(function)
        if holders is None:
            holders = Holders()
            if bits_open(&holders.workers, self.outbox.n_workers) < 0:
                raise MemoryError()
            self.holders[function] = holders
        return holders

    cdef int put(self, int worker, uint32_t function) except -1:
        """Add a function to the next message of a worker."""
        flags, payload, buffers = self.callbacks.encode_function(function)
        self.outbox.writer(worker).put(FUNCTION, 0, function, flags, 0, payload, buffers)
        bits_add(&self.holders_of(function).workers, worker)
        return 0

    cdef int drop_evicted(self) except -1:
        for function in self.callbacks.take_evicted():
            self.drop(function)
        return 0

    cdef int drop(self, uint32_t function) except -1:
        """Let workers drop a function, after the jobs that have been sent so far."""
        cdef Holders holders = self.holders.pop(function, None)
        cdef int worker = NO_BIT
        if self.last_number == function:
            self.last_f = None
            self.last_number = -1
        if holders is not None:
            worker = <int>bits_next(&holders.workers, 0)
        while worker != NO_BIT:
            if self.last_sent[worker] == function:
                self.last_sent[worker] = -1
            self.outbox.writer(worker).put(FORGET, 0, function, 0, 0, None, ())
            worker = <int>bits_next(&holders.workers, worker + 1)
        return 0

    cdef int discard_worker(self, int worker) except -1:
        """Forget what was sent to a worker, which has failed."""
        cdef Holders holders
        for holders in self.holders.values():
            bits_remove(&holders.workers, worker)
        self.last_sent[worker] = -1
        return 0
