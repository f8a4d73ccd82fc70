"""The transport over MPI: the table of functions, on top of `requests` and `failures`.

No call blocks: two ranks that both block in the send of a large message would wait for each other
forever.
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
    LOST,
    is_alive,
    mark_failed,
    next_lost,
    note_empty_poll,
    peers_free,
    peers_init,
)
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY, Transport, transport_t
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.comm.mpi.requests cimport (
    PIECE,
    TAG_FRAME,
    TAG_PART,
    accept_frame,
    append,
    check_size,
    count_earlier,
    discard_pending,
    endpoint_t,
    has_arrived,
    is_complete,
    is_failed_peer,
    start_requests,
    transfer_new,
    transfer_t,
    transfers_init,
    unlink,
)
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset


cdef enum:
    SENDS_PER_POLL = 64  # how many sends a poll tests: many may wait for slow receivers


# ------------------------------------------------------------------ the table of functions

cdef int mpi_send(transport_t *t, message_t *m) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef transfer_t *transfer
    cdef int code
    cdef uint32_t i
    transfer = transfer_new(m) if is_alive(&e.peers, m.peer) else NULL
    if transfer == NULL:  # the message is dropped: `sent` returns it, so that it is released
        m.next = e.sent
        e.sent = m
        return TRANSPORT_NO_MEMORY if is_alive(&e.peers, m.peer) else 0
    append(&e.outgoing, transfer)
    e.bytes_sent[m.peer] += m.frame_size
    e.n_outgoing += 1
    code = start_requests(e, transfer, m.frame, m.frame_size, PIECE, TAG_FRAME, True)
    for i in range(m.n_parts):
        e.bytes_sent[m.peer] += m.parts[i].size
        if code == 0:
            code = start_requests(
                e, transfer, m.parts[i].data, m.parts[i].size, e.piece, TAG_PART, True
            )
    if is_failed_peer(code):
        mark_failed(&e.peers, m.peer)
        return 0
    return code


cdef int progress_sends(endpoint_t *e, int most) noexcept nogil:
    """Test the sends that are not complete, at most `most` of them, the others in later calls."""
    cdef transfer_t **link = &e.outgoing.first if e.untested == NULL else e.untested
    cdef int code
    e.untested = NULL
    while link[0] != NULL:
        if most == 0:
            e.untested = link
            return 0
        most -= 1
        code = is_complete(e, link[0])
        if code < 0:
            return code
        if code == 0:
            link = &link[0].next
            continue
        link[0].message.next = e.sent
        e.sent = link[0].message
        e.n_outgoing -= 1
        unlink(&e.outgoing, link)
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
    e.untested = NULL
    progress_sends(e, e.n_outgoing)
    return e.n_outgoing


cdef bint mpi_is_active(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    return e.outgoing.first != NULL or e.incoming.first != NULL or e.peers.n_failing


cdef message_t *mpi_poll(transport_t *t, int *error) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef transfer_t **link
    cdef message_t *m
    cdef bint all_opened
    cdef int n_earlier
    cdef int code = progress_sends(e, SENDS_PER_POLL) if e.outgoing.first != NULL else 0
    if code == 0:
        code = accept_frame(e)
    link = &e.incoming.first
    while code >= 0 and link[0] != NULL:
        # Frames of a peer are opened in order, so that the receives of parts are posted in the
        # order of their sends. They are returned in order, too.
        n_earlier = count_earlier(e, link[0], &all_opened)
        if all_opened:
            code = has_arrived(e, link[0])
            if code == 1:
                code = check_size(link[0])
            if code == 1 and n_earlier == 0:
                m = link[0].message
                unlink(&e.incoming, link)
                e.peers.peers[m.peer].n_incoming -= 1
                if e.peers.peers[m.peer].state != LOST:
                    return m
                message_free(m)  # the peer was marked as failed, but is alive
                continue
        link = &link[0].next
    if code < 0:
        error[0] = code
    elif e.peers.n_failing:
        note_empty_poll(&e.peers)
    return NULL


cdef int mpi_next_lost(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int peer = next_lost(&e.peers)
    if peer >= 0:
        discard_pending(e, peer)
    return peer


cdef void mpi_mark_failed(transport_t *t, int peer) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    if 0 <= peer < e.peers.size:
        mark_failed(&e.peers, peer)


# ------------------------------------------------------------------ the Python class

cdef class MPITransport(Transport):
    """The network of a communicator, over a private duplicate of it.

    Making one is collective over the communicator.

    Parameters
    ----------
    fcomm : int
        The Fortran handle of the communicator, `comm.py2f()`.
    piece : int
        The maximum size of one MPI message, in bytes.

    Attributes
    ----------
    rank, size : int
        The rank of this process, and the size of the communicator.
    """

    cdef endpoint_t endpoint
    cdef readonly int rank
    cdef readonly int size

    def __cinit__(self, int fcomm, uint64_t piece=PIECE):
        cdef MPI_Comm given = MPI_Comm_f2c(fcomm)
        cdef int provided = 0
        memset(&self.endpoint, 0, sizeof(endpoint_t))
        transfers_init(&self.endpoint.incoming)
        transfers_init(&self.endpoint.outgoing)
        self.endpoint.comm = MPI_COMM_NULL
        self.endpoint.piece = min(max(piece, <uint64_t>1), <uint64_t>PIECE)
        with nogil:
            code = MPI_Comm_dup(given, &self.endpoint.comm)
        check(code)
        check(MPI_Comm_set_errhandler(self.endpoint.comm, MPI_ERRORS_RETURN))
        check(MPI_Comm_rank(self.endpoint.comm, &self.rank))
        check(MPI_Comm_size(self.endpoint.comm, &self.size))
        check(MPI_Query_thread(&provided))
        self.endpoint.bytes_sent = <uint64_t *>calloc(self.size, sizeof(uint64_t))
        if self.endpoint.bytes_sent == NULL or peers_init(&self.endpoint.peers, self.size) < 0:
            raise MemoryError()
        # MPI_THREAD_SERIALIZED is not enough: while the progress thread uses MPI, the job may, too.
        self.table.threads = provided > MPI_THREAD_SERIALIZED
        self.table.self = &self.endpoint
        self.table.n_ranks = self.size
        self.table.send = mpi_send
        self.table.poll = mpi_poll
        self.table.sent = mpi_sent
        self.table.pending = mpi_pending
        self.table.is_active = mpi_is_active
        self.table.next_lost = mpi_next_lost
        self.table.mark_failed = mpi_mark_failed

    def __dealloc__(self):
        peers_free(&self.endpoint.peers)
        free(self.endpoint.bytes_sent)

    @property
    def bytes_sent(self):
        """How many bytes this rank has sent to each rank, as a list."""
        return [self.endpoint.bytes_sent[peer] for peer in range(self.size)]

    @property
    def reports_failures(self):
        """Whether MPI has reported the failure of a rank, so that it survives the failure."""
        return any([self.endpoint.peers.reported[peer] for peer in range(self.size)])

    def free(self):
        """Free the duplicate. Collective; all transfers must be complete.

        Do nothing if a rank has failed, as MPI_Comm_free would wait for it.
        """
        if self.endpoint.comm != MPI_COMM_NULL and not self.has_failures():
            check(MPI_Comm_free(&self.endpoint.comm))

    cdef bint has_failures(self):
        cdef int peer
        for peer in range(self.size):
            if not is_alive(&self.endpoint.peers, peer):
                return True
        return False


def finalize(double seconds):
    """Finalize MPI and wait at most `seconds`; return whether it returned.

    When several ranks have failed, MPI_Finalize of Open MPI 5.0 sometimes does not return: the
    surviving ranks wait for each other in an agreement.
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
