"""The notices to workers about cache items that became needed or unneeded."""
from bsbpool._core.protocol.wire cimport NEEDED, UNNEEDED
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.scheduling.cache_refs cimport cache_t
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int32_t, int64_t

import array


cdef class CacheNotices:
    """Sends each worker the changes of cache items that it has not been sent.

    Parameters
    ----------
    engine : Engine
        The pool's tables.
    outbox : Outbox
        The messages to the workers.
    """

    def __init__(self, Engine engine not None, Outbox outbox not None):
        self.engine = engine
        self.outbox = outbox
        self.n_sent_to_all = 0

    cdef int put(self, int worker) except -1:
        """Add the changes that a worker has not been sent to its next message."""
        cdef cache_t *c = &self.engine.d.cache
        cdef int64_t seen = self.engine.d.workers.slots[worker].cache_seen
        cdef int32_t item
        if seen == c.changed.size:
            return 0
        needed = array.array("Q")
        unneeded = array.array("Q")
        # The present count decides: an item that became unneeded and needed again since the last
        # notice to this worker is needed.
        while seen < c.changed.size:
            item = c.changed.data[seen]
            (needed if c.items[item].ref_count else unneeded).append(c.items[item].token)
            seen += 1
        self.engine.d.workers.slots[worker].cache_seen = seen
        for kind, tokens in ((NEEDED, needed), (UNNEEDED, unneeded)):
            if tokens:
                self.outbox.writer(worker).put(kind, 0, 0, 0, 0, tokens.tobytes(), ())
        return 0

    cdef int put_all(self) except -1:
        """Add the changes to the next messages of all workers."""
        cdef int worker
        if self.n_sent_to_all != self.engine.d.cache.changed.size:
            self.n_sent_to_all = self.engine.d.cache.changed.size
            for worker in range(self.engine.d.workers.n):
                self.put(worker)
        return 0
