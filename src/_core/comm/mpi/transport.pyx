"""The transport over MPI: its table, filled in with what `transfer` and `peers` do.

Nothing here blocks: two ranks that both block in a send of a large message wait
for each other for ever.
"""
from bsbpool._core.comm.mpi.api cimport (
    MPI_COMM_NULL,
    MPI_ERRORS_RETURN,
    MPI_MAX_ERROR_STRING,
    MPI_SUCCESS,
    MPI_THREAD_SERIALIZED,
    MPI_Comm,
    MPI_Comm_dup,
    MPI_Comm_f2c,
    MPI_Comm_free,
    MPI_Comm_rank,
    MPI_Comm_set_errhandler,
    MPI_Comm_size,
    MPI_Error_string,
    MPI_Query_thread,
    finalize_within,
)
from bsbpool._core.comm.mpi.failures cimport (
    ALIVE,
    LOST,
    begin_to_lose,
    look_last,
    next_lost,
    peers_free,
    peers_open,
)
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY, Transport, transport_t
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.comm.mpi.requests cimport (
    PIECE,
    TAG_FRAME,
    TAG_PART,
    accept,
    append,
    arrived,
    discard_pending,
    earlier_of_peer,
    endpoint_t,
    is_complete,
    is_death,
    start_requests,
    transfer_new,
    transfer_t,
    unlink,
    whole,
)
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset


# ------------------------------------------------------------------ the table

cdef int mpi_send(transport_t *t, message_t *m) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef transfer_t *transfer
    cdef int code
    cdef uint32_t i
    if e.peers.each[m.peer].fate != ALIVE:
        m.next = e.sent
        e.sent = m
        return 0
    transfer = transfer_new(m)
    if transfer == NULL:
        return TRANSPORT_NO_MEMORY
    append(&e.outgoing, transfer)
    e.n_outgoing += 1
    code = start_requests(e, transfer, m.frame, m.frame_size, PIECE, TAG_FRAME, True)
    for i in range(m.n_parts):
        if code == 0:
            code = start_requests(e, transfer, m.parts[i].data, m.parts[i].size, e.piece, TAG_PART, True)
    if is_death(code):
        begin_to_lose(&e.peers, m.peer)
        return 0
    return code


cdef int progress_sends(endpoint_t *e) noexcept nogil:
    cdef transfer_t **link = &e.outgoing
    cdef int code
    while link[0] != NULL:
        code = is_complete(e, link[0])
        if code < 0:
            return code
        if code == 0:
            link = &link[0].next
            continue
        link[0].message.next = e.sent
        e.sent = link[0].message
        e.n_outgoing -= 1
        unlink(link)
    return 0


cdef message_t *mpi_sent(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef message_t *m = e.sent
    if m != NULL:
        e.sent = m.next
        m.next = NULL
    return m


cdef int mpi_pending(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    progress_sends(e)
    return e.n_outgoing


cdef bint mpi_moving(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    return e.outgoing != NULL or e.incoming != NULL or e.peers.n_dying


cdef message_t *mpi_poll(transport_t *t, int *error) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef transfer_t **link
    cdef message_t *m
    cdef bint all_opened
    cdef int n_earlier
    cdef int code = progress_sends(e) if e.outgoing != NULL else 0
    if code == 0:
        code = accept(e)
    link = &e.incoming
    while code >= 0 and link[0] != NULL:
        # A frame is opened after the older ones of its peer, so that receives of
        # parts are posted in the order of their sends; and handed out after them.
        n_earlier = earlier_of_peer(e, link[0], &all_opened)
        if all_opened:
            code = arrived(e, link[0])
            if code == 1:
                code = whole(link[0])
            if code == 1 and n_earlier == 0:
                m = link[0].message
                unlink(link)
                if e.peers.each[m.peer].fate != LOST:
                    return m
                message_free(m)  # it was given up though it lives
                continue
        link = &link[0].next
    if code < 0:
        error[0] = code
    elif e.peers.n_dying:
        look_last(&e.peers)
    return NULL


cdef int mpi_lost(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int peer = next_lost(&e.peers)
    if peer >= 0:
        discard_pending(e, peer)
    return peer


cdef void mpi_mark_failed(transport_t *t, int peer) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    if 0 <= peer < e.peers.size:
        begin_to_lose(&e.peers, peer)


# ------------------------------------------------------------------ for Python

cdef class MPITransport(Transport):
    """The network of a communicator, over a private duplicate of it.

    Making one is collective over the communicator.

    Parameters
    ----------
    fcomm : int
        The communicator's Fortran handle, `comm.py2f()`.
    piece : int
        The most bytes that one MPI message carries.
    """

    cdef endpoint_t endpoint
    cdef readonly int rank
    cdef readonly int size

    def __cinit__(self, int fcomm, uint64_t piece=PIECE):
        cdef MPI_Comm given = MPI_Comm_f2c(fcomm)
        cdef int provided = 0
        memset(&self.endpoint, 0, sizeof(endpoint_t))
        self.endpoint.comm = MPI_COMM_NULL
        self.endpoint.piece = min(max(piece, <uint64_t>1), <uint64_t>PIECE)
        with nogil:
            code = MPI_Comm_dup(given, &self.endpoint.comm)
        check(code)
        check(MPI_Comm_set_errhandler(self.endpoint.comm, MPI_ERRORS_RETURN))
        check(MPI_Comm_rank(self.endpoint.comm, &self.rank))
        check(MPI_Comm_size(self.endpoint.comm, &self.size))
        check(MPI_Query_thread(&provided))
        if peers_open(&self.endpoint.peers, self.size) < 0:
            raise MemoryError()
        # SERIALIZED would do for the pool alone, but the job that a thread watches may use MPI.
        self.table.threads = provided > MPI_THREAD_SERIALIZED
        self.table.self = &self.endpoint
        self.table.send = mpi_send
        self.table.poll = mpi_poll
        self.table.sent = mpi_sent
        self.table.pending = mpi_pending
        self.table.moving = mpi_moving
        self.table.lost = mpi_lost
        self.table.mark_failed = mpi_mark_failed

    def __dealloc__(self):
        peers_free(&self.endpoint.peers)

    @property
    def tells_deaths(self):
        """Whether MPI itself has told of a rank's death, so that it goes on without that."""
        return any([self.endpoint.peers.failed[peer] for peer in range(self.size)])

    def free(self):
        """Free the duplicate. Collective; nothing may be on its way."""
        if self.endpoint.comm != MPI_COMM_NULL and not self.has_losses():
            check(MPI_Comm_free(&self.endpoint.comm))

    cdef bint has_losses(self):
        cdef int peer
        for peer in range(self.size):
            if self.endpoint.peers.each[peer].fate != ALIVE:
                return True
        return False


def finalize(double seconds):
    """Finalize MPI, but wait for that only so long; return whether it ended.

    Open MPI 5.0 now and then never comes back from MPI_Finalize when several ranks have died
    (its survivors wait for each other in an agreement).
    """
    cdef bint done
    cdef long ms = <long>(seconds * 1e3)
    with nogil:
        done = finalize_within(ms)
    return done


cdef int check(int code) except -1:
    cdef char[MPI_MAX_ERROR_STRING] text
    cdef int length = 0
    if code == MPI_SUCCESS:
        return 0
    MPI_Error_string(code, text, &length)
    raise RuntimeError(f"MPI error: {text[:length].decode(errors='replace')}")
