"""The notices to workers about cache items that became needed or unneeded.

A worker is told of the items before its first job, and of all changes after that. A worker that
gets no jobs has no items, so it gets no notices.
"""
from bsbpool._core.bits cimport NO_BIT, bits_add, bits_free, bits_has, bits_next, bits_open
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
        self.n_sent_to_all = self.n_read = 0
        self.needed = set()
        self.changes = ()
        if self.told.words == NULL and bits_open(&self.told, outbox.n_workers) < 0:
            raise MemoryError()

    def __dealloc__(self):
        bits_free(&self.told)

    cdef int put(self, int worker) except -1:
        """Add the changes that a worker has not been sent to its next message."""
        cdef int64_t seen = self.engine.d.workers.slots[worker].cache_seen
        if seen == self.engine.d.cache.changed.size:
            return 0
        return self.put_changes(worker, seen)

    cdef int put_all(self) except -1:
        """Add the changes to the next messages of all workers that know of an item."""
        cdef int64_t worker
        if self.n_sent_to_all != self.engine.d.cache.changed.size:
            self.n_sent_to_all = self.engine.d.cache.changed.size
            self.read()
            worker = bits_next(&self.told, 0)
            while worker != NO_BIT:
                self.put(<int>worker)
                worker = bits_next(&self.told, worker + 1)
        return 0

    cdef int put_changes(self, int worker, int64_t seen) except -1:
        """Add the changes since the `seen`-th one, or all items if the worker knows of none."""
        self.engine.d.workers.slots[worker].cache_seen = self.engine.d.cache.changed.size
        if bits_has(&self.told, worker):
            needed, unneeded = self.changes_since(seen)
        else:
            self.read()
            needed, unneeded = array.array("Q", sorted(self.needed)).tobytes(), b""
        if needed:
            bits_add(&self.told, worker)
        for kind, tokens in ((NEEDED, needed), (UNNEEDED, unneeded)):
            if tokens:
                self.outbox.writer(worker).put(kind, 0, 0, 0, 0, tokens, ())
        return 0

    cdef int read(self) except -1:
        """Update `needed`."""
        cdef cache_t *c = &self.engine.d.cache
        cdef int32_t item
        while self.n_read < c.changed.size:
            item = c.changed.data[self.n_read]
            self.n_read += 1
            if c.items[item].ref_count:
                self.needed.add(c.items[item].token)
            else:
                self.needed.discard(c.items[item].token)
        return 0

    cdef tuple changes_since(self, int64_t seen):
        """Return the payloads about needed and unneeded items since the `seen`-th change."""
        cdef cache_t *c = &self.engine.d.cache
        cdef int64_t i
        cdef int32_t item
        if self.changes and self.seen == seen and self.size == c.changed.size:
            return self.changes  # another worker has seen as much
        needed, unneeded = array.array("Q"), array.array("Q")
        # The present count decides: an item that became unneeded and needed again since then is
        # needed.
        for i in range(seen, c.changed.size):
            item = c.changed.data[i]
            (needed if c.items[item].ref_count else unneeded).append(c.items[item].token)
        self.seen, self.size = seen, c.changed.size
        self.changes = needed.tobytes(), unneeded.tobytes()
        return self.changes
