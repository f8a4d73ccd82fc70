# What travels: messages with the MPI requests that are not complete yet.
#
# A message is a frame on one tag and its parts, in pieces of at most `piece` bytes, on another.
# MPI keeps the order of messages between two ranks with the same tag, so the pieces need no
# numbers: their receives are posted in the order in which the frames announced them. (Pieces,
# because Open MPI 5.0 has no calls that count beyond 2 GiB.)
#
# What MPI may still write to, or read from, when a peer is lost is buried and never freed.
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
    failed,
    tells_of_death,
)
from bsbpool._core.comm.mpi.failures cimport begin_to_lose, heard, note_failures, peers_t
from bsbpool._core.comm.transport cimport TRANSPORT_MALFORMED, TRANSPORT_NO_MEMORY
from bsbpool._core.protocol.message cimport message_free, message_new, message_t, part_alloc
from bsbpool._core.vector cimport grow
from bsbpool._core.protocol.wire cimport cursor_check_parts, cursor_open, cursor_part_size, cursor_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef enum:
    TAG_FRAME = 1
    TAG_PART = 2
    PIECE = 1 << 30

# One message, with the requests that are not complete yet.
ctypedef struct transfer_t:
    message_t *message
    MPI_Request *requests
    bint incoming
    int64_t n_requests
    int64_t capacity
    uint64_t received  # incoming: bytes of what is complete
    bint opened  # incoming: the frame has arrived and its parts are asked for
    bint broken  # its peer died before it was through
    int failure  # incoming: why it can never be handed out; 0 if it can
    transfer_t *next

# One end of it: all that travels to and from here.
ctypedef struct endpoint_t:
    MPI_Comm comm
    uint64_t piece
    transfer_t *incoming  # oldest first
    transfer_t *outgoing
    int n_outgoing
    message_t *sent
    transfer_t *buried
    peers_t peers

cdef inline transfer_t *transfer_new(message_t *message) noexcept nogil:
    cdef transfer_t *transfer = <transfer_t *>malloc(sizeof(transfer_t))
    if transfer != NULL:
        memset(transfer, 0, sizeof(transfer_t))
        transfer.message = message
    return transfer

cdef inline void append(transfer_t **head, transfer_t *transfer) noexcept nogil:
    while head[0] != NULL:
        head = &head[0].next
    head[0] = transfer

cdef inline void unlink(transfer_t **link) noexcept nogil:
    cdef transfer_t *transfer = link[0]
    link[0] = transfer.next
    free(transfer.requests)
    free(transfer)

cdef inline void discard_pending_on(endpoint_t *e, transfer_t **link, int peer) noexcept nogil:
    cdef transfer_t *transfer
    while link[0] != NULL:
        transfer = link[0]
        if transfer.message.peer != peer:
            link = &transfer.next
            continue
        link[0] = transfer.next
        transfer.next = e.buried
        e.buried = transfer

cdef inline void discard_pending(endpoint_t *e, int peer) noexcept nogil:
    """Put aside all that travels to or from a peer."""
    cdef transfer_t *transfer
    discard_pending_on(e, &e.incoming, peer)
    discard_pending_on(e, &e.outgoing, peer)
    transfer = e.outgoing
    e.n_outgoing = 0
    while transfer != NULL:
        e.n_outgoing += 1
        transfer = transfer.next

# Pieces

cdef inline MPI_Request *new_request(transfer_t *transfer) noexcept nogil:
    if grow(
        <void **>&transfer.requests, &transfer.capacity, transfer.n_requests + 1, sizeof(MPI_Request)
    ) < 0:
        return NULL
    transfer.requests[transfer.n_requests] = MPI_REQUEST_NULL
    transfer.n_requests += 1
    return &transfer.requests[transfer.n_requests - 1]

cdef inline int start_requests(
    endpoint_t *e, transfer_t *transfer, void *data, uint64_t size, uint64_t piece, int tag,
    bint outgoing,
) noexcept nogil:
    """Start to send or receive `size` bytes in pieces. (A frame is one piece: it is small.)"""
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
        if failed(code):
            return failed(code)
        at += n
    return 0

cdef inline int is_complete(endpoint_t *e, transfer_t *transfer) noexcept nogil:
    """Test what is left of a message: 1 when nothing is, 0 when something is."""
    cdef MPI_Status status
    cdef int flag = 0
    cdef int size = 0
    cdef int code
    while transfer.n_requests:
        code = MPI_Test(&transfer.requests[transfer.n_requests - 1], &flag, &status)
        if tells_of_death(code):
            begin_to_lose(&e.peers, transfer.message.peer)
            transfer.broken = True
        elif failed(code):
            return failed(code)
        elif not flag:
            return 0
        elif transfer.incoming:
            MPI_Get_count(&status, MPI_BYTE, &size)
            transfer.received += <uint64_t>size
        transfer.n_requests -= 1
    return 1

cdef inline bint is_death(int code) noexcept nogil:
    """Whether an error that `failed` made negative is one of MPI's that tell of a death."""
    return TRANSPORT_NO_MEMORY < code < 0 and tells_of_death(-code)

cdef inline int excused(endpoint_t *e, transfer_t *transfer, int code) noexcept nogil:
    """What is wrong with a transfer, except that its peer died: then it is only broken."""
    if not is_death(code):
        return code
    begin_to_lose(&e.peers, transfer.message.peer)
    transfer.broken = True
    return 0

# What comes in

cdef inline int accept(endpoint_t *e) noexcept nogil:
    """Start to receive a frame that has arrived, if one has: 1 then, else 0."""
    cdef MPI_Status status
    cdef int flag = 0
    cdef int size = 0
    cdef int code = MPI_Iprobe(MPI_ANY_SOURCE, TAG_FRAME, e.comm, &flag, &status)
    cdef message_t *m
    cdef transfer_t *transfer
    if tells_of_death(code):
        note_failures(&e.peers, e.comm)
        return 0
    if failed(code):
        return failed(code)
    if not flag:
        return 0
    heard(&e.peers, status.MPI_SOURCE)
    MPI_Get_count(&status, MPI_BYTE, &size)
    m = message_new(status.MPI_SOURCE, 0)
    transfer = transfer_new(m)
    if m == NULL or transfer == NULL:
        return TRANSPORT_NO_MEMORY
    m.frame = <uint8_t *>malloc(size)
    m.frame_size = <uint64_t>size
    if m.frame == NULL:
        return TRANSPORT_NO_MEMORY
    transfer.incoming = True
    append(&e.incoming, transfer)
    code = start_requests(e, transfer, m.frame, m.frame_size, PIECE, TAG_FRAME, False)
    return excused(e, transfer, code) if code < 0 else 1

cdef inline int ask_for_parts(endpoint_t *e, transfer_t *transfer) noexcept nogil:
    """The frame is here: make room for its parts and start to receive them."""
    cdef cursor_t cursor
    cdef message_t *m = transfer.message
    cdef message_t *whole
    cdef uint32_t i
    cdef int code
    transfer.opened = True
    if cursor_open(&cursor, m.frame, m.frame_size) < 0 or cursor_check_parts(&cursor) < 0:
        return TRANSPORT_MALFORMED
    if cursor.header.n_parts == 0:
        return 0
    whole = message_new(m.peer, cursor.header.n_parts)
    if whole == NULL:
        return TRANSPORT_NO_MEMORY
    whole.frame = m.frame
    whole.frame_size = m.frame_size
    m.frame = NULL
    message_free(m)
    transfer.message = whole
    for i in range(whole.n_parts):
        whole.parts[i].size = cursor_part_size(&cursor, i)
        whole.parts[i].data = part_alloc(whole.parts[i].size)
        if whole.parts[i].data == NULL:
            return TRANSPORT_NO_MEMORY
        code = start_requests(
            e, transfer, whole.parts[i].data, whole.parts[i].size, e.piece, TAG_PART, False
        )
        if code < 0:
            return excused(e, transfer, code)
    return 0

cdef inline int arrived(endpoint_t *e, transfer_t *transfer) noexcept nogil:
    """1 when the whole message is here, 0 when it is not."""
    cdef int code = transfer.failure
    if code == 0:
        code = is_complete(e, transfer)
    if transfer.broken:
        return 0
    if code != 1 or transfer.opened:
        return code
    transfer.failure = ask_for_parts(e, transfer)
    code = transfer.failure if transfer.failure < 0 else is_complete(e, transfer)
    return 0 if transfer.broken else code

cdef inline int whole(transfer_t *transfer) noexcept nogil:
    """1 when all parts came as long as they were announced, else an error."""
    cdef uint64_t size = transfer.message.frame_size
    cdef uint32_t i
    for i in range(transfer.message.n_parts):
        size += transfer.message.parts[i].size
    if size != transfer.received:
        transfer.failure = TRANSPORT_MALFORMED
    return 1 if transfer.failure == 0 else transfer.failure

cdef inline int earlier_of_peer(endpoint_t *e, transfer_t *transfer, bint *all_opened) noexcept nogil:
    """Count the older messages of the same peer; are all of their parts asked for?"""
    cdef transfer_t *older = e.incoming
    cdef int n = 0
    all_opened[0] = True
    while older != transfer:
        if older.message.peer == transfer.message.peer:
            n += 1
            all_opened[0] = all_opened[0] and older.opened
        older = older.next
    return n
