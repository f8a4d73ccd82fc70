"""A network between endpoints of one process, for running the loops without MPI.

Each rank has an inbox, and the loops of the ranks may run in different threads. As with MPI, the
send of a message without parts is complete at once, and that of a message with parts is pending
until the receiver polls. The parts are copied only then, to detect senders that free or change them
too early.

A rank can be killed: messages that it has sent still arrive, and messages to it are dropped.
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
    network_t *network
    message_t *inbox  # oldest first; `peer` is the sender
    message_t *sent
    int pending
    int rank
    int error
    bint dead
    uint8_t *reported  # by rank: whether its death was reported to this rank

ctypedef struct network_t:
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


cdef message_t *take_copy(message_t *m) noexcept nogil:
    """Return a message with the frame of `m` and copies of its parts; NULL: no memory."""
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
    cdef bint known = 0 <= target < e.network.n
    cdef bint delivered
    m.peer = e.rank
    PyThread_acquire_lock(e.network.lock, WAIT_LOCK)
    delivered = known and not e.network.endpoints[target].dead
    append(&e.network.endpoints[target].inbox if delivered else &e.sent, m)
    e.pending += delivered and m.n_parts > 0
    PyThread_release_lock(e.network.lock)
    return e.error if known else UNKNOWN_RANK


cdef message_t *inprocess_poll(transport_t *t, int *error) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef endpoint_t *sender
    cdef message_t *m
    cdef message_t *copy
    PyThread_acquire_lock(e.network.lock, WAIT_LOCK)
    m = pop(&e.inbox)
    if m != NULL and m.n_parts:
        sender = &e.network.endpoints[m.peer]
        copy = take_copy(m)
        if copy == NULL:
            e.error = TRANSPORT_NO_MEMORY
        sender.pending -= 1
        append(&sender.sent, m)
        m = copy
    if e.error:
        error[0] = e.error
    PyThread_release_lock(e.network.lock)
    return validated(m, error)


cdef message_t *validated(message_t *m, int *error) noexcept nogil:
    """Return a message if its frame is well-formed, as every transport must; else NULL."""
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
    PyThread_acquire_lock(e.network.lock, WAIT_LOCK)
    m = pop(&e.sent)
    PyThread_release_lock(e.network.lock)
    return m


cdef int inprocess_next_lost(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int peer
    cdef int found = -1
    PyThread_acquire_lock(e.network.lock, WAIT_LOCK)
    for peer in range(e.network.n):
        if (
            e.network.endpoints[peer].dead and not e.reported[peer]
            and not has_message_from(e, peer)
        ):
            e.reported[peer] = True
            found = peer
            break
    PyThread_release_lock(e.network.lock)
    return found


cdef bint has_message_from(endpoint_t *e, int peer) noexcept nogil:
    """Whether a message of a peer is in the inbox."""
    cdef message_t *m = e.inbox
    while m != NULL and m.peer != peer:
        m = m.next
    return m != NULL


cdef void inprocess_mark_failed(transport_t *t, int peer) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    if 0 <= peer < e.network.n:  # the rank in a frame may be wrong
        e.network.endpoints[peer].dead = True


cdef bint inprocess_is_active(transport_t *t) noexcept nogil:
    return inprocess_pending(t) > 0


cdef int inprocess_pending(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int pending
    PyThread_acquire_lock(e.network.lock, WAIT_LOCK)
    pending = e.pending
    PyThread_release_lock(e.network.lock)
    return pending


# ------------------------------------------------------------------ the Python classes

cdef class InProcessNetwork:
    """A network between `n` ranks of this process.

    Parameters
    ----------
    n : int
        The number of ranks.
    """

    cdef network_t network

    def __cinit__(self, int32_t n):
        cdef int32_t i
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        self.network.lock = PyThread_allocate_lock()
        self.network.endpoints = <endpoint_t *>calloc(n, sizeof(endpoint_t))
        if self.network.lock == NULL or self.network.endpoints == NULL:
            raise MemoryError()
        self.network.n = n
        for i in range(n):
            self.network.endpoints[i].network = &self.network
            self.network.endpoints[i].rank = i
            self.network.endpoints[i].reported = <uint8_t *>calloc(n, 1)
            if self.network.endpoints[i].reported == NULL:
                raise MemoryError()

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.network.n):
            release(self.network.endpoints[i].inbox)
            release(self.network.endpoints[i].sent)
            free(self.network.endpoints[i].reported)
        free(self.network.endpoints)
        if self.network.lock != NULL:
            PyThread_free_lock(self.network.lock)

    cdef endpoint_t *endpoint(self, int32_t rank) except NULL:
        if not 0 <= rank < self.network.n:
            raise IndexError(f"rank must lie between 0 and {self.network.n - 1}, got {rank}")
        return &self.network.endpoints[rank]

    def transport(self, int32_t rank, bint threads=False):
        """Return the endpoint of a rank, for one `Channel`.

        Parameters
        ----------
        rank : int
            The rank.
        threads : bool
            Whether the channel may have a progress thread.
        """
        return InProcessTransport(self, rank, threads)

    def waiting(self, int32_t rank):
        """Return the number of messages that a rank has not received yet."""
        cdef message_t *m
        cdef int n = 0
        cdef endpoint_t *e = self.endpoint(rank)
        PyThread_acquire_lock(self.network.lock, WAIT_LOCK)
        m = e.inbox
        while m != NULL:
            n += 1
            m = m.next
        PyThread_release_lock(self.network.lock)
        return n

    def inject(self, int32_t source, int32_t target, bytes frame not None, parts=()):
        """Send bytes from `source` to `target` as a frame with parts, also malformed ones."""
        cdef transport_t table
        cdef message_t *m
        cdef uint32_t i
        self.endpoint(target)
        table.self = self.endpoint(source)
        m = message_new(target, <uint32_t>len(parts))
        if m == NULL:
            raise MemoryError()
        try:
            m.frame = <uint8_t *>exact_copy(frame)
            m.frame_size = <uint64_t>len(frame)
            for i in range(m.n_parts):
                m.parts[i].data = exact_copy(parts[i])
                m.parts[i].size = <uint64_t>len(parts[i])
        except BaseException:
            message_free(m)
            raise
        inprocess_send(&table, m)

    def kill(self, int32_t rank):
        """Mark a rank as dead; others learn of it when they have received all of its messages."""
        self.endpoint(rank).dead = True

    def fail(self, int32_t rank, int code=-1):
        """Let the network fail for a rank from now on, with a negative error code."""
        self.endpoint(rank).error = code


cdef void *exact_copy(bytes data) except NULL:
    """Return a copy from malloc of the exact size, so that sanitizers detect reads beyond it."""
    cdef void *copy = malloc(max(<size_t>len(data), <size_t>1))
    if copy == NULL:
        raise MemoryError()
    return memcpy(copy, <const char *>data, <size_t>len(data))


cdef void release(message_t *m):
    """Free a list of messages."""
    cdef message_t *following
    while m != NULL:
        following = m.next
        if m.pinned != NULL:
            Py_DECREF(<object>m.pinned)
        message_free(m)
        m = following


cdef class InProcessTransport(Transport):
    """The endpoint of one rank of an `InProcessNetwork`."""

    cdef InProcessNetwork network

    def __cinit__(self, InProcessNetwork network not None, int32_t rank, bint threads=False):
        self.network = network
        self.table.threads = threads
        self.table.self = network.endpoint(rank)
        self.table.n_ranks = network.network.n
        self.table.send = inprocess_send
        self.table.poll = inprocess_poll
        self.table.sent = inprocess_sent
        self.table.pending = inprocess_pending
        self.table.is_active = inprocess_is_active
        self.table.next_lost = inprocess_next_lost
        self.table.mark_failed = inprocess_mark_failed
