"""The large data that a worker keeps for jobs, and sends to other workers.

Data are results and broadcast objects that jobs have as arguments: a pickle and its buffers, with
an id. The main rank knows which worker has which data, and asks a worker (SEND_DATA) to send data
to another one (DATA).

The methods without the GIL also run in the progress thread; the caller of a method holds the mutex
of `ProgressThread`. A message must own a reference to the buffers that it is sent from. So that
requests can be answered without the GIL, some references are taken in advance.
"""
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.protocol.buffer cimport buffer_own
from bsbpool._core.protocol.frames cimport FrameReader, FrameWriter
from bsbpool._core.protocol.message cimport message_free, message_new, message_t, part_alloc
from bsbpool._core.protocol.wire cimport DATA, KEEP_ONLY, KEPT, PAYLOAD_OUT, STAYED
from bsbpool._core.vector cimport grow
from cpython.bytes cimport PyBytes_CheckExact
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

import sys

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object)

cdef enum:
    LARGE = 64 * 1024  # bytes of the smallest result that stays on its worker
    SPARE = 16  # references taken in advance


cdef class DataStore:
    """The data of one run on a worker.

    Parameters
    ----------
    channel : Channel
        The messages of the communicator.
    run_id : int
        The pool's run on that channel.
    """

    def __init__(self, Channel channel not None, uint32_t run_id):
        self.channel = channel
        self.run_id = run_id
        self.reader = FrameReader()
        self.values = {}
        self.forgotten = set()

    def __dealloc__(self):
        cdef message_t *m
        cdef int64_t i
        for i in range(self.n_held):
            self.release(&self.held[i])
        while self.arrived != NULL:
            m = self.arrived
            self.arrived = m.next
            message_free(m)
        free(self.held)
        free(self.requests.data)
        free(self.lost.data)

    # Without the GIL

    cdef bint add_arrived(self, message_t *m) noexcept nogil:
        """Add a DATA message, which the store then owns."""
        cdef message_t **link = &self.arrived
        while link[0] != NULL:
            link = &link[0].next
        m.next = NULL
        link[0] = m
        return True

    cdef bint serve(self, int64_t id, int peer) noexcept nogil:
        """Send data to a rank, as soon as they are here; return False when memory is exhausted."""
        cdef held_t *h = self.find(id)
        if h == NULL or (h.message.pinned != NULL and h.spare == 0):
            return append(&self.requests, id, peer)
        return self.send_copy(h, peer) == 0

    cdef bint note_lost(self, int64_t id, int64_t rank) noexcept nogil:
        """Note that data were lost with a rank, and will not arrive."""
        return append(&self.lost, id, rank)

    cdef int64_t lost_with(self, int64_t id) noexcept nogil:
        """Return the rank with which data were lost; -1 if they were not."""
        cdef int64_t i
        for i in range(self.lost.size):
            if self.lost.data[i].id == id:
                return self.lost.data[i].rank
        return -1

    cdef bint has_work(self) noexcept nogil:
        """Whether `update` has something to do."""
        return self.arrived != NULL or self.requests.size > 0

    cdef held_t *find(self, int64_t id) noexcept nogil:
        cdef int64_t i
        for i in range(self.n_held):
            if self.held[i].id == id:
                return &self.held[i]
        return NULL

    cdef int send_copy(self, held_t *h, int peer) noexcept nogil:
        """Send a copy of the message, which shares its parts; return -1 if memory is exhausted."""
        cdef message_t *m = message_new(peer, h.message.n_parts)
        if m == NULL:
            return -1
        m.frame = <uint8_t *>malloc(h.message.frame_size)
        if m.frame == NULL:
            m.n_parts = 0
            message_free(m)
            return -1
        memcpy(m.frame, h.message.frame, h.message.frame_size)
        m.frame_size = h.message.frame_size
        if m.n_parts:
            memcpy(m.parts, h.message.parts, m.n_parts * sizeof(m.parts[0]))
        m.pinned = h.message.pinned
        if m.pinned != NULL:
            h.spare -= 1
        self.channel.send(m)  # an error of the network is kept by the channel
        return 0

    # With the GIL

    cdef int update(self) except -1:
        """Unpack the messages that have arrived, and answer the requests for them."""
        cdef message_t *m
        cdef held_t *h
        cdef int64_t i = 0
        while self.arrived != NULL:
            m = self.arrived
            self.arrived = m.next
            m.next = NULL
            self.reader.open(m)
            if self.reader.next():
                if self.reader.record.id in self.forgotten:
                    self.forgotten.discard(self.reader.record.id)
                else:
                    payload = self.reader.payload()
                    self.keep(self.reader.record.id, payload, self.reader.buffers())
        while i < self.requests.size:
            h = self.find(self.requests.data[i].id)
            if h == NULL:
                i += 1
                continue
            if h.message.pinned != NULL and h.spare == 0:
                take_references(h)
            if self.send_copy(h, <int>self.requests.data[i].rank) < 0:
                raise MemoryError()
            remove(&self.requests, i)
        return 0

    cdef int finish(self) except -1:
        """Answer the requests that are left at the end of the run, in any way: they are counted."""
        cdef FrameWriter writer
        self.update()
        while self.requests.size:
            writer = FrameWriter()
            writer.put(DATA, self.requests.data[0].id, 0, 0, 0, b"", ())
            self.channel.post(writer.seal(<int>self.requests.data[0].rank, self.run_id))
            remove(&self.requests, 0)
        return 0

    cdef int keep(self, int64_t id, payload, list buffers) except -1:
        """Keep data; do nothing if they are here already."""
        cdef FrameWriter writer = FrameWriter()
        cdef held_t *h
        if id in self.values:
            return 0
        views = [memoryview(buffer) for buffer in buffers]
        if PyBytes_CheckExact(payload):
            writer.put(DATA, id, 0, 0, 0, payload, views)
        else:
            writer.put(DATA, id, 0, PAYLOAD_OUT, 0, None, [memoryview(payload), *views])
        if grow(<void **>&self.held, &self.held_capacity, self.n_held + 1, sizeof(held_t)) < 0:
            raise MemoryError()
        h = &self.held[self.n_held]
        h.id = id
        h.spare = 0
        h.message = writer.seal(0, self.run_id)
        self.n_held += 1
        if h.message.pinned != NULL:
            take_references(h)
        self.values[id] = (payload, buffers)
        return 0

    cdef tuple keep_result(self, int64_t id, uint8_t flags, bytes payload, buffers):
        """Keep the result of a job, if it is large.

        Returns
        -------
        tuple or None
            Further flags of the reply, its payload and its buffers; None if nothing was kept.
        """
        cdef int64_t size = len(payload)
        for buffer in buffers:
            size += buffer.nbytes
        if size < LARGE:
            return None
        views = [unchanging(buffer) for buffer in buffers]
        self.keep(id, payload, views)
        if flags & KEEP_ONLY:
            return KEPT | STAYED, size.to_bytes(8, sys.byteorder), ()
        return KEPT, payload, views

    cdef bint has(self, int64_t id) except -1:
        """Whether data are here."""
        return id in self.values

    cdef tuple copy_of(self, int64_t id):
        """Return the pickle and copies of its buffers."""
        payload, buffers = self.values[id]
        return payload, [copied(buffer) for buffer in buffers]

    cdef int forget(self, int64_t id) except -1:
        """Drop data, also when they are still to arrive."""
        cdef held_t *h
        cdef int64_t place
        self.update()
        if self.values.pop(id, None) is None:
            if self.lost_with(id) < 0:
                self.forgotten.add(id)
            return 0
        h = self.find(id)
        self.release(h)
        place = h - self.held
        self.n_held -= 1
        memmove(h, h + 1, (self.n_held - place) * sizeof(held_t))
        return 0

    cdef void release(self, held_t *h) noexcept:
        """Release the message of data that are dropped."""
        cdef void *pinned = h.message.pinned
        message_free(h.message)
        if pinned != NULL:
            while h.spare >= 0:  # with the reference of the message itself
                h.spare -= 1
                Py_DECREF(<object>pinned)


cdef object unchanging(view):
    """Return a buffer that nobody else can change: the same one, or a copy."""
    cdef object owner = view.obj
    # One reference is `owner`, and one belongs to the buffer or to the array before it.
    while Py_REFCNT(owner) <= 2 and type(owner).__name__ == "ndarray":
        if owner.base is None:
            return view
        owner = owner.base
    return view if PyBytes_CheckExact(owner) else memoryview(copied(view))


cdef object copied(buffer):
    """Return a writable copy of a buffer, in memory of its own."""
    cdef const uint8_t[::1] source = memoryview(buffer).cast("B")
    cdef uint64_t size = <uint64_t>source.shape[0]
    cdef void *data = part_alloc(size)
    if data == NULL:
        raise MemoryError()
    if size:
        with nogil:
            memcpy(data, &source[0], size)
    return buffer_own(data, size)


cdef void take_references(held_t *h) noexcept:
    """Take references to the buffers for further copies of the message."""
    while h.spare < SPARE:
        h.spare += 1
        Py_INCREF(<object>h.message.pinned)


cdef bint append(data_ranks_t *v, int64_t id, int64_t rank) noexcept nogil:
    if grow(<void **>&v.data, &v.capacity, v.size + 1, sizeof(data_rank_t)) < 0:
        return False
    v.data[v.size] = data_rank_t(id, rank)
    v.size += 1
    return True


cdef void remove(data_ranks_t *v, int64_t place) noexcept nogil:
    v.size -= 1
    memmove(v.data + place, v.data + place + 1, (v.size - place) * sizeof(data_rank_t))
