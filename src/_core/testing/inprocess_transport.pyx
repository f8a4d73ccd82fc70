"""A network between endpoints of one process, for running the loops without MPI.

Each rank has an inbox; the loops of different ranks may run in different
threads. As with MPI, a message without parts has left as soon as it is sent,
while one with parts is pending until the receiver looks: only then are the
parts copied, so a sender that frees them early is found out.

A rank can be killed: what it had sent still arrives, what is sent to it is dropped.
"""
from bsbpool._core.comm.transport cimport (
    TRANSPORT_MALFORMED,
    TRANSPORT_NO_MEMORY,
    Transport,
    transport_t,
)
from bsbpool._core.protocol.message cimport message_free, message_new, message_t
from bsbpool._core.protocol.wire cimport cursor_check_parts, cursor_open, cursor_t
from cpython.pythread cimport (
    WAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    PyThread_type_lock,
)
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef enum:
    UNKNOWN_RANK = -102

ctypedef struct endpoint_t:
    pipes_t *pipes
    message_t *inbox  # oldest first; `peer` says who sent it
    message_t *sent
    int pending
    int rank
    int error
    bint dead
    uint8_t *told  # by rank: that it is dead

ctypedef struct pipes_t:
    PyThread_type_lock lock
    endpoint_t *endpoints
    int32_t n


cdef void append(message_t **head, message_t *m) noexcept nogil:
    while head[0] != NULL:
        head = &head[0].next
    m.next = NULL
    head[0] = m


cdef message_t *pop(message_t **head) noexcept nogil:
    cdef message_t *m = head[0]
    if m != NULL:
        head[0] = m.next
        m.next = NULL
    return m


cdef message_t *copied(message_t *m) noexcept nogil:
    """Take the frame out of a message, and copies of its parts; NULL without memory."""
    cdef message_t *copy = message_new(m.peer, m.n_parts)
    cdef uint32_t i
    if copy == NULL:
        return NULL
    for i in range(m.n_parts):
        copy.parts[i].size = m.parts[i].size
        copy.parts[i].data = malloc(max(m.parts[i].size, <uint64_t>1))
        if copy.parts[i].data == NULL:
            message_free(copy)
            return NULL
        memcpy(copy.parts[i].data, m.parts[i].data, m.parts[i].size)
    copy.frame = m.frame
    copy.frame_size = m.frame_size
    m.frame = NULL
    return copy


# ------------------------------------------------------------------ the table

cdef int inprocess_send(transport_t *t, message_t *m) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int target = m.peer
    cdef bint known = 0 <= target < e.pipes.n
    cdef bint heard
    m.peer = e.rank
    PyThread_acquire_lock(e.pipes.lock, WAIT_LOCK)
    heard = known and not e.pipes.endpoints[target].dead
    append(&e.pipes.endpoints[target].inbox if heard else &e.sent, m)
    e.pending += heard and m.n_parts > 0
    PyThread_release_lock(e.pipes.lock)
    return e.error if known else UNKNOWN_RANK


cdef message_t *inprocess_poll(transport_t *t, int *error) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef endpoint_t *sender
    cdef message_t *m
    cdef message_t *copy
    PyThread_acquire_lock(e.pipes.lock, WAIT_LOCK)
    m = pop(&e.inbox)
    if m != NULL and m.n_parts:
        sender = &e.pipes.endpoints[m.peer]
        copy = copied(m)
        if copy == NULL:
            e.error = TRANSPORT_NO_MEMORY
        sender.pending -= 1
        append(&sender.sent, m)
        m = copy
    if e.error:
        error[0] = e.error
    PyThread_release_lock(e.pipes.lock)
    return checked(m, error)


cdef message_t *checked(message_t *m, int *error) noexcept nogil:
    """Hand out whole frames only, as every transport does."""
    cdef cursor_t cursor
    if m == NULL:
        return NULL
    if cursor_open(&cursor, m.frame, m.frame_size) == 0 and cursor_check_parts(&cursor) == 0:
        return m
    error[0] = TRANSPORT_MALFORMED
    message_free(m)
    return NULL


cdef message_t *inprocess_sent(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef message_t *m
    PyThread_acquire_lock(e.pipes.lock, WAIT_LOCK)
    m = pop(&e.sent)
    PyThread_release_lock(e.pipes.lock)
    return m


cdef int inprocess_next_lost(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int peer
    cdef int found = -1
    PyThread_acquire_lock(e.pipes.lock, WAIT_LOCK)
    for peer in range(e.pipes.n):
        if e.pipes.endpoints[peer].dead and not e.told[peer] and not has_sent(e, peer):
            e.told[peer] = True
            found = peer
            break
    PyThread_release_lock(e.pipes.lock)
    return found


cdef bint has_sent(endpoint_t *e, int peer) noexcept nogil:
    """Whether something of a peer waits in the inbox."""
    cdef message_t *m = e.inbox
    while m != NULL and m.peer != peer:
        m = m.next
    return m != NULL


cdef void inprocess_mark_failed(transport_t *t, int peer) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    if 0 <= peer < e.pipes.n:  # anything may come out of a frame
        e.pipes.endpoints[peer].dead = True


cdef bint inprocess_is_active(transport_t *t) noexcept nogil:
    return inprocess_pending(t) > 0


cdef int inprocess_pending(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int pending
    PyThread_acquire_lock(e.pipes.lock, WAIT_LOCK)
    pending = e.pending
    PyThread_release_lock(e.pipes.lock)
    return pending


# ------------------------------------------------------------------ for Python

cdef class InProcessNetwork:
    """Pipes between `n` ranks of this process.

    Parameters
    ----------
    n : int
        How many ranks there are.
    """

    cdef pipes_t pipes

    def __cinit__(self, int32_t n):
        cdef int32_t i
        if n < 1:
            raise ValueError("n: a network has at least one rank")
        self.pipes.lock = PyThread_allocate_lock()
        self.pipes.endpoints = <endpoint_t *>calloc(n, sizeof(endpoint_t))
        if self.pipes.lock == NULL or self.pipes.endpoints == NULL:
            raise MemoryError()
        self.pipes.n = n
        for i in range(n):
            self.pipes.endpoints[i].pipes = &self.pipes
            self.pipes.endpoints[i].rank = i
            self.pipes.endpoints[i].told = <uint8_t *>calloc(n, 1)
            if self.pipes.endpoints[i].told == NULL:
                raise MemoryError()

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.pipes.n):
            release(self.pipes.endpoints[i].inbox)
            release(self.pipes.endpoints[i].sent)
            free(self.pipes.endpoints[i].told)
        free(self.pipes.endpoints)
        if self.pipes.lock != NULL:
            PyThread_free_lock(self.pipes.lock)

    cdef endpoint_t *endpoint(self, int32_t rank) except NULL:
        if not 0 <= rank < self.pipes.n:
            raise IndexError(f"no rank {rank}")
        return &self.pipes.endpoints[rank]

    def transport(self, int32_t rank):
        """Return the end of the network at `rank`, for one `Channel`."""
        return InProcessTransport(self, rank)

    def waiting(self, int32_t rank):
        """Return how many messages `rank` has not taken yet."""
        cdef message_t *m
        cdef int n = 0
        cdef endpoint_t *e = self.endpoint(rank)
        PyThread_acquire_lock(self.pipes.lock, WAIT_LOCK)
        m = e.inbox
        while m != NULL:
            n += 1
            m = m.next
        PyThread_release_lock(self.pipes.lock)
        return n

    def inject(self, int32_t source, int32_t target, bytes frame not None, parts=()):
        """Let any bytes arrive at `target` as a frame, with its parts, from `source`."""
        cdef transport_t table
        cdef message_t *m
        cdef uint32_t i
        self.endpoint(target)
        table.self = self.endpoint(source)
        m = message_new(target, <uint32_t>len(parts))
        if m == NULL:
            raise MemoryError()
        try:
            m.frame = <uint8_t *>memory_of(frame)
            m.frame_size = <uint64_t>len(frame)
            for i in range(m.n_parts):
                m.parts[i].data = memory_of(parts[i])
                m.parts[i].size = <uint64_t>len(parts[i])
        except BaseException:
            message_free(m)
            raise
        inprocess_send(&table, m)

    def kill(self, int32_t rank):
        """Let a rank die: the others are told when all that it sent has been taken."""
        self.endpoint(rank).dead = True

    def fail(self, int32_t rank, int code=-1):
        """Let the network fail for `rank`, with a negative code, from now on."""
        self.endpoint(rank).error = code


cdef void *memory_of(bytes data) except NULL:
    """Return a copy from malloc, no larger than it must be: reads behind it shall be noticed."""
    cdef void *copy = malloc(max(<size_t>len(data), <size_t>1))
    if copy == NULL:
        raise MemoryError()
    return memcpy(copy, <const char *>data, <size_t>len(data))


cdef void release(message_t *m):
    cdef message_t *following
    while m != NULL:
        following = m.next
        if m.pinned != NULL:
            Py_DECREF(<object>m.pinned)
        message_free(m)
        m = following


cdef class InProcessTransport(Transport):
    """One rank's end of a `InProcessNetwork`."""

    cdef InProcessNetwork network

    def __cinit__(self, InProcessNetwork network not None, int32_t rank):
        self.network = network
        self.table.self = network.endpoint(rank)
        self.table.send = inprocess_send
        self.table.poll = inprocess_poll
        self.table.sent = inprocess_sent
        self.table.pending = inprocess_pending
        self.table.is_active = inprocess_is_active
        self.table.next_lost = inprocess_next_lost
        self.table.mark_failed = inprocess_mark_failed
