"""The transport over MPI: the one room that includes mpi.h.

A message is a frame on one tag and its parts, in pieces of at most `piece`
bytes, on another. MPI keeps the order of messages between two ranks with the
same tag, so the pieces need no numbers: their receives are posted in the order
in which the frames announced them. (Pieces, because Open MPI 5.0 has no calls
that count beyond 2 GiB.)

Nothing here blocks: two ranks that both block in a send of a large message wait
for each other for ever.

A peer dies in three steps. It is *dying* from when MPI says that it failed (Open MPI under
`mpiexec --with-ft ulfm` does) or somebody who knows gives it up: what had come from it is
still handed out. It is *lost* when nothing more has come in some looks. What MPI may still
write to, or read from, is buried and never freed.
"""
from bsbpool._core.transport cimport (
    TRANSPORT_MALFORMED,
    TRANSPORT_NO_MEMORY,
    Transport,
    message_free,
    message_new,
    message_t,
    part_alloc,
    transport_t,
)
from bsbpool._core.vector cimport grow
from bsbpool._core.wire cimport cursor_check_parts, cursor_open, cursor_part_size, cursor_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

cdef extern from "mpi.h" nogil:
    ctypedef int MPI_Fint
    ctypedef struct MPI_Comm:
        pass
    ctypedef struct MPI_Datatype:
        pass
    ctypedef struct MPI_Request:
        pass
    ctypedef struct MPI_Errhandler:
        pass
    ctypedef struct MPI_Status:
        int MPI_SOURCE
    MPI_Comm MPI_COMM_NULL
    MPI_Datatype MPI_BYTE
    MPI_Request MPI_REQUEST_NULL
    MPI_Errhandler MPI_ERRORS_RETURN
    int MPI_ANY_SOURCE, MPI_SUCCESS
    MPI_Comm MPI_Comm_f2c(MPI_Fint)
    int MPI_Comm_dup(MPI_Comm, MPI_Comm *)
    int MPI_Comm_free(MPI_Comm *)
    int MPI_Comm_rank(MPI_Comm, int *)
    int MPI_Comm_size(MPI_Comm, int *)
    int MPI_Comm_set_errhandler(MPI_Comm, MPI_Errhandler)
    int MPI_Error_string(int, char *, int *)
    int MPI_Isend(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Irecv(void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Iprobe(int, int, MPI_Comm, int *, MPI_Status *)
    int MPI_Test(MPI_Request *, int *, MPI_Status *)
    int MPI_Query_thread(int *)
    int MPI_THREAD_SERIALIZED
    int MPI_Get_count(const MPI_Status *, MPI_Datatype, int *)
    enum: MPI_MAX_ERROR_STRING

cdef extern from *:
    """
    #if defined(OPEN_MPI)
    #include <mpi-ext.h>
    #endif
    #if defined(OMPI_HAVE_MPI_EXT_FTMPI)
    static int tells_of_death(int code) {
        int kind = 0;
        if (code == MPI_SUCCESS) return 0;
        MPI_Error_class(code, &kind);
        return kind == MPIX_ERR_PROC_FAILED || kind == MPIX_ERR_PROC_FAILED_PENDING;
    }
    /* Write 1 for each rank that failed; let receives from any source go on without them. */
    static void see_deaths(MPI_Comm comm, unsigned char *failed) {
        MPI_Group gone, all;
        int i, n = 0, acknowledged = 0;
        if (MPIX_Comm_get_failed(comm, &gone) != MPI_SUCCESS) return;
        MPI_Group_size(gone, &n);
        MPI_Comm_group(comm, &all);
        for (i = 0; i < n; i++) {
            int rank = MPI_UNDEFINED;
            MPI_Group_translate_ranks(gone, 1, &i, all, &rank);
            if (rank != MPI_UNDEFINED) failed[rank] = 1;
        }
        MPI_Group_free(&gone);
        MPI_Group_free(&all);
        MPIX_Comm_ack_failed(comm, n, &acknowledged);
    }
    #else  /* MPI has no words for it, or they do not work (MPICH 5) */
    static int tells_of_death(int code) { (void)code; return 0; }
    static void see_deaths(MPI_Comm comm, unsigned char *failed) { (void)comm; (void)failed; }
    #endif
    """
    bint tells_of_death(int) nogil
    void see_deaths(MPI_Comm, uint8_t *) nogil

cdef extern from *:
    """
    #include <pthread.h>
    #include <time.h>
    static volatile int finalize_done;
    static void *finalize_run(void *unused) {
        (void)unused;
        MPI_Finalize();
        finalize_done = 1;
        return NULL;
    }
    static int finalize_within(long ms) {
        struct timespec t = {0, 1000000};
        pthread_t thread;
        if (pthread_create(&thread, NULL, finalize_run, NULL)) return 0;
        pthread_detach(thread);
        while (!finalize_done && ms-- > 0) nanosleep(&t, NULL);
        return finalize_done;
    }
    """
    bint finalize_within(long) nogil

cdef enum:
    TAG_FRAME = 1
    TAG_PART = 2
    PIECE = 1 << 30
    LAST_LOOKS = 8  # without anything from a dying peer, until it is lost

cdef enum fate_t:
    ALIVE = 0
    DYING = 1
    LOST = 2

# A message on its way, with the requests that are not complete yet.
ctypedef struct travel_t:
    message_t *message
    MPI_Request *requests
    bint incoming
    int64_t n_requests
    int64_t capacity
    uint64_t received  # incoming: bytes of what is complete
    bint opened  # incoming: the frame has arrived and its parts are asked for
    bint broken  # its peer died before it was through
    int failure  # incoming: why it can never be handed out; 0 if it can
    travel_t *next

ctypedef struct peer_t:
    uint8_t fate  # a fate_t
    uint8_t looks  # since it was dying

ctypedef struct endpoint_t:
    MPI_Comm comm
    uint64_t piece
    travel_t *incoming  # oldest first
    travel_t *outgoing
    int n_outgoing
    message_t *sent
    travel_t *buried
    int size
    peer_t *peers
    uint8_t *failed  # by rank: 1 when MPI says so
    int n_dying


cdef inline int failed(int code) noexcept nogil:
    """Turn an MPI error into a negative number; 0 for success."""
    if code == MPI_SUCCESS:
        return 0
    return -code if code > 0 else code


# ------------------------------------------------------------------ travelling

cdef travel_t *travel_new(message_t *message) noexcept nogil:
    cdef travel_t *travel = <travel_t *>malloc(sizeof(travel_t))
    if travel != NULL:
        memset(travel, 0, sizeof(travel_t))
        travel.message = message
    return travel


cdef void append(travel_t **head, travel_t *travel) noexcept nogil:
    while head[0] != NULL:
        head = &head[0].next
    head[0] = travel


cdef void unlink(travel_t **link) noexcept nogil:
    cdef travel_t *travel = link[0]
    link[0] = travel.next
    free(travel.requests)
    free(travel)


cdef MPI_Request *new_request(travel_t *travel) noexcept nogil:
    if grow(
        <void **>&travel.requests, &travel.capacity, travel.n_requests + 1, sizeof(MPI_Request)
    ) < 0:
        return NULL
    travel.requests[travel.n_requests] = MPI_REQUEST_NULL
    travel.n_requests += 1
    return &travel.requests[travel.n_requests - 1]


cdef int transfer(
    endpoint_t *e, travel_t *travel, void *data, uint64_t size, uint64_t piece, int tag,
    bint outgoing,
) noexcept nogil:
    """Start to send or receive `size` bytes in pieces. (A frame is one piece: it is small.)"""
    cdef uint64_t at = 0
    cdef uint64_t n
    cdef MPI_Request *request
    cdef int peer = travel.message.peer
    cdef int code
    while at < size:
        n = size - at if size - at < piece else piece
        request = new_request(travel)
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


cdef int is_complete(endpoint_t *e, travel_t *travel) noexcept nogil:
    """Test what is left of a message: 1 when nothing is, 0 when something is."""
    cdef MPI_Status status
    cdef int flag = 0
    cdef int size = 0
    cdef int code
    while travel.n_requests:
        code = MPI_Test(&travel.requests[travel.n_requests - 1], &flag, &status)
        if tells_of_death(code):
            begin_to_lose(e, travel.message.peer)
            travel.broken = True
        elif failed(code):
            return failed(code)
        elif not flag:
            return 0
        elif travel.incoming:
            MPI_Get_count(&status, MPI_BYTE, &size)
            travel.received += <uint64_t>size
        travel.n_requests -= 1
    return 1


# ------------------------------------------------------------------ death

cdef void begin_to_lose(endpoint_t *e, int peer) noexcept nogil:
    if e.peers[peer].fate == ALIVE:
        e.peers[peer].fate = DYING
        e.n_dying += 1


cdef void mourn(endpoint_t *e) noexcept nogil:
    """MPI tells of a death: find out whose."""
    cdef int peer
    see_deaths(e.comm, e.failed)
    for peer in range(e.size):
        if e.failed[peer]:
            begin_to_lose(e, peer)


cdef void look_last(endpoint_t *e) noexcept nogil:
    """Count the looks that found nothing."""
    cdef int peer
    for peer in range(e.size):
        if e.peers[peer].fate == DYING and e.peers[peer].looks < LAST_LOOKS:
            e.peers[peer].looks += 1


cdef void bury(endpoint_t *e, travel_t **link, int peer) noexcept nogil:
    """Put aside all that travels to or from a peer."""
    cdef travel_t *travel
    while link[0] != NULL:
        travel = link[0]
        if travel.message.peer != peer:
            link = &travel.next
            continue
        link[0] = travel.next
        travel.next = e.buried
        e.buried = travel


cdef void bury_outgoing(endpoint_t *e, int peer) noexcept nogil:
    bury(e, &e.outgoing, peer)
    cdef travel_t *travel = e.outgoing
    e.n_outgoing = 0
    while travel != NULL:
        e.n_outgoing += 1
        travel = travel.next


cdef int mpi_lost(transport_t *t) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef int peer
    if e.n_dying == 0:
        return -1
    for peer in range(e.size):
        if e.peers[peer].fate == DYING and e.peers[peer].looks >= LAST_LOOKS:
            e.peers[peer].fate = LOST
            e.n_dying -= 1
            bury(e, &e.incoming, peer)
            bury_outgoing(e, peer)
            return peer
    return -1


cdef void mpi_give_up(transport_t *t, int peer) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    if 0 <= peer < e.size:
        begin_to_lose(e, peer)


# ------------------------------------------------------------------ the table

cdef int mpi_send(transport_t *t, message_t *m) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef travel_t *travel
    cdef int code
    cdef uint32_t i
    if e.peers[m.peer].fate != ALIVE:
        m.next = e.sent
        e.sent = m
        return 0
    travel = travel_new(m)
    if travel == NULL:
        return TRANSPORT_NO_MEMORY
    append(&e.outgoing, travel)
    e.n_outgoing += 1
    code = transfer(e, travel, m.frame, m.frame_size, PIECE, TAG_FRAME, True)
    for i in range(m.n_parts):
        if code == 0:
            code = transfer(e, travel, m.parts[i].data, m.parts[i].size, e.piece, TAG_PART, True)
    if is_death(code):
        begin_to_lose(e, m.peer)
        return 0
    return code


cdef int progress_sends(endpoint_t *e) noexcept nogil:
    cdef travel_t **link = &e.outgoing
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
    return e.outgoing != NULL or e.incoming != NULL or e.n_dying


cdef int accept(endpoint_t *e) noexcept nogil:
    """Start to receive a frame that has arrived, if one has: 1 then, else 0."""
    cdef MPI_Status status
    cdef int flag = 0
    cdef int size = 0
    cdef int code = MPI_Iprobe(MPI_ANY_SOURCE, TAG_FRAME, e.comm, &flag, &status)
    cdef message_t *m
    cdef travel_t *travel
    if tells_of_death(code):
        mourn(e)
        return 0
    if failed(code):
        return failed(code)
    if not flag:
        return 0
    if e.peers[status.MPI_SOURCE].fate == DYING:
        e.peers[status.MPI_SOURCE].looks = 0
    MPI_Get_count(&status, MPI_BYTE, &size)
    m = message_new(status.MPI_SOURCE, 0)
    travel = travel_new(m)
    if m == NULL or travel == NULL:
        return TRANSPORT_NO_MEMORY
    m.frame = <uint8_t *>malloc(size)
    m.frame_size = <uint64_t>size
    if m.frame == NULL:
        return TRANSPORT_NO_MEMORY
    travel.incoming = True
    append(&e.incoming, travel)
    code = transfer(e, travel, m.frame, m.frame_size, PIECE, TAG_FRAME, False)
    return excused(e, travel, code) if code < 0 else 1


cdef bint is_death(int code) noexcept nogil:
    """Whether an error that `failed` made negative is one of MPI's that tell of a death."""
    return TRANSPORT_NO_MEMORY < code < 0 and tells_of_death(-code)


cdef int excused(endpoint_t *e, travel_t *travel, int code) noexcept nogil:
    """What is wrong with a transfer, except that its peer died: then it is only broken."""
    if not is_death(code):
        return code
    begin_to_lose(e, travel.message.peer)
    travel.broken = True
    return 0


cdef int ask_for_parts(endpoint_t *e, travel_t *travel) noexcept nogil:
    """The frame is here: make room for its parts and start to receive them."""
    cdef cursor_t cursor
    cdef message_t *m = travel.message
    cdef message_t *whole
    cdef uint32_t i
    cdef int code
    travel.opened = True
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
    travel.message = whole
    for i in range(whole.n_parts):
        whole.parts[i].size = cursor_part_size(&cursor, i)
        whole.parts[i].data = part_alloc(whole.parts[i].size)
        if whole.parts[i].data == NULL:
            return TRANSPORT_NO_MEMORY
        code = transfer(
            e, travel, whole.parts[i].data, whole.parts[i].size, e.piece, TAG_PART, False
        )
        if code < 0:
            return excused(e, travel, code)
    return 0


cdef int arrived(endpoint_t *e, travel_t *travel) noexcept nogil:
    """1 when the whole message is here, 0 when it is not."""
    cdef int code = travel.failure
    if code == 0:
        code = is_complete(e, travel)
    if travel.broken:
        return 0
    if code != 1 or travel.opened:
        return code
    travel.failure = ask_for_parts(e, travel)
    code = travel.failure if travel.failure < 0 else is_complete(e, travel)
    return 0 if travel.broken else code


cdef int whole(travel_t *travel) noexcept nogil:
    """1 when all parts came as long as they were announced, else an error."""
    cdef uint64_t size = travel.message.frame_size
    cdef uint32_t i
    for i in range(travel.message.n_parts):
        size += travel.message.parts[i].size
    if size != travel.received:
        travel.failure = TRANSPORT_MALFORMED
    return 1 if travel.failure == 0 else travel.failure


cdef int earlier_of_peer(endpoint_t *e, travel_t *travel, bint *all_opened) noexcept nogil:
    """Count the older messages of the same peer; are all of their parts asked for?"""
    cdef travel_t *older = e.incoming
    cdef int n = 0
    all_opened[0] = True
    while older != travel:
        if older.message.peer == travel.message.peer:
            n += 1
            all_opened[0] = all_opened[0] and older.opened
        older = older.next
    return n


cdef message_t *mpi_poll(transport_t *t, int *error) noexcept nogil:
    cdef endpoint_t *e = <endpoint_t *>t.self
    cdef travel_t **link
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
                if e.peers[m.peer].fate != LOST:
                    return m
                message_free(m)  # it was given up though it lives
                continue
        link = &link[0].next
    if code < 0:
        error[0] = code
    elif e.n_dying:
        look_last(e)
    return NULL


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
        self.endpoint.size = self.size
        self.endpoint.peers = <peer_t *>calloc(self.size, sizeof(peer_t))
        self.endpoint.failed = <uint8_t *>calloc(self.size, 1)
        if self.endpoint.peers == NULL or self.endpoint.failed == NULL:
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
        self.table.give_up = mpi_give_up

    def __dealloc__(self):
        free(self.endpoint.peers)
        free(self.endpoint.failed)

    @property
    def tells_deaths(self):
        """Whether MPI itself has told of a rank's death, so that it goes on without that."""
        return any([self.endpoint.failed[peer] for peer in range(self.size)])

    def free(self):
        """Free the duplicate. Collective; nothing may be on its way."""
        if self.endpoint.comm != MPI_COMM_NULL and not self.has_losses():
            check(MPI_Comm_free(&self.endpoint.comm))

    cdef bint has_losses(self):
        cdef int peer
        for peer in range(self.size):
            if self.endpoint.peers[peer].fate != ALIVE:
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
    raise RuntimeError(f"MPI: {text[:length].decode(errors='replace')}")
