# Messages with the MPI requests that are not complete.
#
# A message is a frame with one tag, and its parts with another tag, in pieces of at most `piece`
# bytes. MPI keeps the order of messages between two ranks with the same tag, so pieces need no
# numbers: their receives are posted in the order in which the frames announced them. (Open MPI 5.0
# has no calls that count beyond 2 GiB, hence the pieces.)
#
# MPI may still read or write the buffers of a transfer whose peer is lost, so they are never freed.
from bsbpool._core.comm.mpi.api cimport (
    MPI_ANY_SOURCE,
    MPI_BYTE,
    MPI_REQUEST_NULL,
    MPI_Comm,
    MPI_Get_count,
    MPI_Iprobe,
    MPI_Irecv,
    MPI_Isend,
    MPI_Request,
    MPI_Status,
    MPI_Test,
    error_of,
    is_rank_failure,
)
from bsbpool._core.comm.mpi.failures cimport (
    mark_failed,
    mark_reported_failures,
    note_message,
    peers_t,
)
from bsbpool._core.comm.transport cimport TRANSPORT_MALFORMED, TRANSPORT_NO_MEMORY
from bsbpool._core.protocol.message cimport message_free, message_new, message_t, part_alloc
from bsbpool._core.protocol.wire cimport cursor_check_parts, cursor_open, cursor_part_size, cursor_t
from bsbpool._core.vector cimport grow
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef enum:
    TAG_FRAME = 1
    TAG_PART = 2
    PIECE = 1 << 30

# One message, with its requests that are not complete.
ctypedef struct transfer_t:
    message_t *message
    MPI_Request *requests
    bint incoming
    int64_t n_requests
    int64_t capacity
    uint64_t received  # incoming: bytes of the requests that are complete
    bint opened  # incoming: the frame has arrived, and the receives of its parts are posted
    bint broken  # the peer failed before the transfer was complete
    int error  # incoming: why the message cannot be returned; 0 if it can
    transfer_t *next

# Transfers, oldest first.
ctypedef struct transfers_t:
    transfer_t *first
    transfer_t **end  # where the next one is added

# All transfers of this rank.
ctypedef struct endpoint_t:
    MPI_Comm comm
    uint64_t piece
    uint64_t *bytes_sent  # to each rank
    transfers_t incoming
    transfers_t outgoing
    int n_outgoing
    transfer_t **untested  # where the next poll begins to test sends; NULL: with the oldest
    message_t *sent  # messages whose sends are complete
    transfer_t *discarded  # transfers of lost peers, which MPI may still use
    peers_t peers

cdef inline transfer_t *transfer_new(message_t *message) noexcept nogil:
    cdef transfer_t *transfer = <transfer_t *>malloc(sizeof(transfer_t))
    if transfer != NULL:
        memset(transfer, 0, sizeof(transfer_t))
        transfer.message = message
    return transfer

cdef inline void transfers_init(transfers_t *list) noexcept nogil:
    list.first = NULL
    list.end = &list.first

cdef inline void append(transfers_t *list, transfer_t *transfer) noexcept nogil:
    list.end[0] = transfer
    list.end = &transfer.next

cdef inline void unlink(transfers_t *list, transfer_t **link) noexcept nogil:
    """Remove the transfer to which `link` points, and free it, but not its message."""
    cdef transfer_t *transfer = link[0]
    link[0] = transfer.next
    if list.end == &transfer.next:
        list.end = link
    free(transfer.requests)
    free(transfer)

cdef inline void discard_from_list(endpoint_t *e, transfers_t *list, int peer) noexcept nogil:
    cdef transfer_t **link = &list.first
    cdef transfer_t *transfer
    while link[0] != NULL:
        transfer = link[0]
        if transfer.message.peer != peer:
            link = &transfer.next
            continue
        link[0] = transfer.next
        transfer.next = e.discarded
        e.discarded = transfer
    list.end = link

cdef inline void discard_pending(endpoint_t *e, int peer) noexcept nogil:
    """Discard the transfers to and from a lost peer."""
    cdef transfer_t *transfer
    discard_from_list(e, &e.incoming, peer)
    discard_from_list(e, &e.outgoing, peer)
    e.peers.peers[peer].n_incoming = 0
    e.untested = NULL
    transfer = e.outgoing.first
    e.n_outgoing = 0
    while transfer != NULL:
        e.n_outgoing += 1
        transfer = transfer.next

# Requests

cdef inline MPI_Request *new_request(transfer_t *transfer) noexcept nogil:
    cdef void **data = <void **>&transfer.requests
    if grow(data, &transfer.capacity, transfer.n_requests + 1, sizeof(MPI_Request)) < 0:
        return NULL
    transfer.requests[transfer.n_requests] = MPI_REQUEST_NULL
    transfer.n_requests += 1
    return &transfer.requests[transfer.n_requests - 1]

cdef inline int start_requests(
    endpoint_t *e, transfer_t *transfer, void *data, uint64_t size, uint64_t piece, int tag,
    bint outgoing,
) noexcept nogil:
    """Start to send or receive `size` bytes in pieces. (A frame is small: one piece.)"""
    cdef uint64_t at = 0
    cdef uint64_t n
    cdef MPI_Request *request
    cdef int peer = transfer.message.peer
    cdef int code
    while at < size:
        n = size - at if size - at < piece else piece
        request = new_request(transfer)
        if request == NULL:
            return TRANSPORT_NO_MEMORY
        if outgoing:
            code = MPI_Isend(<char *>data + at, <int>n, MPI_BYTE, peer, tag, e.comm, request)
        else:
            code = MPI_Irecv(<char *>data + at, <int>n, MPI_BYTE, peer, tag, e.comm, request)
        if error_of(code):
            return error_of(code)
        at += n
    return 0

cdef inline int is_complete(endpoint_t *e, transfer_t *transfer) noexcept nogil:
    """Test the requests of a message: 1 when all are complete, 0 when not, or an error."""
    cdef MPI_Status status
    cdef int flag = 0
    cdef int size = 0
    cdef int code
    while transfer.n_requests:
        code = MPI_Test(&transfer.requests[transfer.n_requests - 1], &flag, &status)
        if is_rank_failure(code):
            mark_failed(&e.peers, transfer.message.peer)
            transfer.broken = True
        elif error_of(code):
            return error_of(code)
        elif not flag:
            return 0
        elif transfer.incoming:
            MPI_Get_count(&status, MPI_BYTE, &size)
            transfer.received += <uint64_t>size
        transfer.n_requests -= 1
    return 1

cdef inline bint is_failed_peer(int code) noexcept nogil:
    """Whether an error of `error_of` reports the failure of a rank."""
    return TRANSPORT_NO_MEMORY < code < 0 and is_rank_failure(-code)

cdef inline int check_peer(endpoint_t *e, transfer_t *transfer, int code) noexcept nogil:
    """Return the error of a transfer; 0 if its peer failed, which only breaks the transfer."""
    if not is_failed_peer(code):
        return code
    mark_failed(&e.peers, transfer.message.peer)
    transfer.broken = True
    return 0

# Receiving

cdef inline transfer_t *incoming_transfer(int source, int size) noexcept nogil:
    """Allocate a transfer with a frame of `size` bytes; return NULL when memory is exhausted."""
    cdef message_t *m = message_new(source, 0)
    cdef transfer_t *transfer
    if m == NULL:
        return NULL
    m.frame_size = <uint64_t>size
    m.frame = <uint8_t *>malloc(m.frame_size)
    transfer = NULL if m.frame == NULL else transfer_new(m)
    if transfer == NULL:
        message_free(m)
        return NULL
    transfer.incoming = True
    return transfer

cdef inline int accept_frame(endpoint_t *e) noexcept nogil:
    """Start to receive a frame that has arrived: 1 if there is one, 0 if not, or an error."""
    cdef MPI_Status status
    cdef int flag = 0
    cdef int size = 0
    cdef int code = MPI_Iprobe(MPI_ANY_SOURCE, TAG_FRAME, e.comm, &flag, &status)
    cdef message_t *m
    cdef transfer_t *transfer
    if is_rank_failure(code):
        mark_reported_failures(&e.peers, e.comm)
        return 0
    if error_of(code):
        return error_of(code)
    if not flag:
        return 0
    note_message(&e.peers, status.MPI_SOURCE)
    MPI_Get_count(&status, MPI_BYTE, &size)
    transfer = incoming_transfer(status.MPI_SOURCE, size)
    if transfer == NULL:
        return TRANSPORT_NO_MEMORY
    m = transfer.message
    append(&e.incoming, transfer)
    e.peers.peers[m.peer].n_incoming += 1
    code = start_requests(e, transfer, m.frame, m.frame_size, PIECE, TAG_FRAME, False)
    return check_peer(e, transfer, code) if code < 0 else 1

cdef inline int post_parts(endpoint_t *e, transfer_t *transfer) noexcept nogil:
    """Allocate the parts of a message whose frame has arrived, and start to receive them."""
    cdef cursor_t cursor
    cdef message_t *m = transfer.message
    cdef message_t *with_parts
    cdef uint32_t i
    cdef int code
    transfer.opened = True
    if cursor_open(&cursor, m.frame, m.frame_size) < 0 or cursor_check_parts(&cursor) < 0:
        return TRANSPORT_MALFORMED
    if cursor.header.n_parts == 0:
        return 0
    with_parts = message_new(m.peer, cursor.header.n_parts)
    if with_parts == NULL:
        return TRANSPORT_NO_MEMORY
    with_parts.frame = m.frame
    with_parts.frame_size = m.frame_size
    m.frame = NULL
    message_free(m)
    transfer.message = with_parts
    for i in range(with_parts.n_parts):
        with_parts.parts[i].size = cursor_part_size(&cursor, i)
        with_parts.parts[i].data = part_alloc(with_parts.parts[i].size)
        if with_parts.parts[i].data == NULL:
            return TRANSPORT_NO_MEMORY
        code = start_requests(
            e, transfer, with_parts.parts[i].data, with_parts.parts[i].size, e.piece, TAG_PART,
            False,
        )
        if code < 0:
            return check_peer(e, transfer, code)
    return 0

cdef inline int has_arrived(endpoint_t *e, transfer_t *transfer) noexcept nogil:
    """1 when the message and its parts have arrived, 0 when not, or an error."""
    cdef int code = transfer.error
    if code == 0:
        code = is_complete(e, transfer)
    if transfer.broken:
        return 0
    if code != 1 or transfer.opened:
        return code
    transfer.error = post_parts(e, transfer)
    code = transfer.error if transfer.error < 0 else is_complete(e, transfer)
    return 0 if transfer.broken else code

cdef inline int check_size(transfer_t *transfer) noexcept nogil:
    """1 when all parts are as long as the frame announces, else an error."""
    cdef uint64_t size = transfer.message.frame_size
    cdef uint32_t i
    for i in range(transfer.message.n_parts):
        size += transfer.message.parts[i].size
    if size != transfer.received:
        transfer.error = TRANSPORT_MALFORMED
    return 1 if transfer.error == 0 else transfer.error

cdef inline int count_earlier(endpoint_t *e, transfer_t *transfer, bint *all_opened) noexcept nogil:
    """Count the older messages of the same peer, and see whether all are opened."""
    cdef transfer_t *older = e.incoming.first
    cdef int n = 0
    all_opened[0] = True
    if e.peers.peers[transfer.message.peer].n_incoming == 1:
        return 0
    while older != transfer:
        if older.message.peer == transfer.message.peer:
            n += 1
            all_opened[0] = all_opened[0] and older.opened
        older = older.next
    return n
