# Sending messages that leaders relay, see `relay`.
from bsbpool._core.comm.relay_streams cimport message_of, stream_number, stream_t
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY, transport_now, transport_t
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.message cimport message_free, message_new, message_t
from bsbpool._core.protocol.message_queue cimport queue_push, queue_t
from bsbpool._core.protocol.wire cimport (
    DIRECT,
    EAGER_FRAME,
    FROM_MAIN,
    RELAYED,
    TO_MAIN,
    frame_append,
    frame_free,
    frame_init,
    frame_seal,
    frame_t,
    record_t,
)
from bsbpool._core.vector cimport ints_push, ints_t
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

cdef enum:
    MAIN = 0
    RELAY_RUN_ID = 0x7FFFFFFE  # the run of bundles
    # How long a leader collects messages while main has not answered its last bundle: twice the
    # time that main took before.
    SHORTEST_HOLD_NS = 2_000_000
    LONGEST_HOLD_NS = 32_000_000

cdef enum:
    # Flags of a rank, on others than main.
    IS_RELAYED = 1  # this rank has relayed messages of it
    IS_LOST = 2
    IS_CONFIRMING = 4  # main waits for the confirmation of its loss

ctypedef struct relay_t:
    transport_t *net
    void *wakeup  # a Wakeup; NULL: there is none
    int rank
    stream_t *streams  # on main by rank, on others only that of main
    uint8_t *peers  # flags of each rank; NULL until there are any
    ints_t leaders  # on a worker: the ranks that have relayed its messages
    ints_t unsent  # ranks for which there are unsent bundles
    bint is_answered  # on a leader: whether main has sent a message since the last bundle to it
    int64_t sent_at  # on a leader: when it has sent main the last bundle
    int64_t hold_ns  # on a leader: how long it waits for an answer
    int64_t hold_until  # on a leader: when its bundle is sent at the latest; 0: none is held back
    int64_t n_unconfirmed  # relayed messages that were not confirmed
    ints_t lost  # ranks whose loss was not reported yet
    queue_t ready  # messages that were not returned yet
    int n_confirming  # on a leader: workers whose loss main wants to be confirmed
    int error
    bint is_leader  # whether this rank has relayed messages


cdef inline stream_t *stream_of(relay_t *r, int peer) noexcept nogil:
    """Return the stream of messages between main and a worker, one of which is this rank."""
    return &r.streams[peer if r.rank == MAIN else 0]


cdef inline bint note_peer(relay_t *r, int peer, uint8_t flag) noexcept nogil:
    """Set a flag of a rank; return False if memory is exhausted."""
    if r.peers == NULL:
        r.peers = <uint8_t *>calloc(r.net.n_ranks, 1)
        if r.peers == NULL:
            return False
    r.peers[peer] |= flag
    return True


cdef inline int transmit(relay_t *r, message_t *m) noexcept nogil:
    """Send a message over the network, and wake its receiver."""
    cdef int peer = m.peer
    cdef int code = r.net.send(r.net, m)
    if code >= 0 and r.wakeup != NULL:
        (<Wakeup>r.wakeup).notify(peer)
    return code


cdef inline int send_numbered(relay_t *r, message_t *m) noexcept nogil:
    """Send a message between main and a worker, directly or through a leader."""
    cdef stream_t *stream = stream_of(r, m.peer)
    cdef message_t *copy
    cdef int code
    if stream.leads and not m.n_parts:
        # With the messages for its workers, so that it relays those of a run before it gets STOP.
        stream_number(stream, m, DIRECT)
        code = append_to_bundle(r, m.peer, RELAYED, m.peer, m.frame, m.frame_size)
        message_free(m)
        return code
    if stream.leader < 0 or m.n_parts:
        stream_number(stream, m, DIRECT)
        return transmit(r, m)
    stream_number(stream, m, FROM_MAIN if r.rank == MAIN else TO_MAIN)
    queue_push(&stream.unconfirmed, m)
    r.n_unconfirmed += 1
    if r.rank == MAIN:
        return append_to_bundle(r, stream.leader, RELAYED, m.peer, m.frame, m.frame_size)
    copy = message_of(stream.leader, m.frame, m.frame_size)
    return TRANSPORT_NO_MEMORY if copy == NULL else transmit(r, copy)


cdef inline int append_to_bundle(
    relay_t *r, int receiver, uint8_t kind, int id, const uint8_t *frame, uint64_t size
) noexcept nogil:
    """Append a record to the bundle for a leader, or on a leader to that for main."""
    cdef stream_t *stream = stream_of(r, receiver)
    cdef record_t record
    if stream.bundle == NULL:
        stream.bundle = <frame_t *>malloc(sizeof(frame_t))
        if stream.bundle == NULL:
            return TRANSPORT_NO_MEMORY
        frame_init(stream.bundle)
    if stream.bundle.n_records == 0 and ints_push(&r.unsent, receiver) < 0:
        return TRANSPORT_NO_MEMORY
    record.kind = kind
    record.flags = 0
    record.n_parts = 0
    record.aux = 0
    record.id = id
    record.size = size
    record.extra = 0
    if frame_append(stream.bundle, &record, frame) < 0:
        return TRANSPORT_NO_MEMORY
    return flush_bundle(r, receiver) if stream.bundle.size >= EAGER_FRAME else 0


cdef inline int flush_bundles(relay_t *r) noexcept nogil:
    """Send all bundles."""
    cdef int code = 0
    cdef int64_t i
    for i in range(r.unsent.size):
        code = min(code, flush_bundle(r, r.unsent.data[i]))
    r.unsent.size = 0
    r.hold_until = 0
    return code


cdef inline int flush_bundle(relay_t *r, int receiver) noexcept nogil:
    """Send the bundle for a rank."""
    cdef frame_t *bundle = stream_of(r, receiver).bundle
    cdef message_t *m
    if bundle.n_records == 0:
        return 0
    if r.rank != MAIN:
        note_bundle(r)
    m = message_new(receiver, 0)
    if m == NULL or frame_seal(bundle, RELAY_RUN_ID) < 0:
        free(m)
        return TRANSPORT_NO_MEMORY
    m.frame = bundle.data
    m.frame_size = <uint64_t>bundle.size
    bundle.data = NULL
    frame_free(bundle)
    return transmit(r, m)


cdef inline void note_bundle(relay_t *r) noexcept nogil:
    """On a leader, note that main is sent a bundle; wait longer if the last was not answered."""
    if not r.is_answered:
        r.hold_ns = min(2 * r.hold_ns, LONGEST_HOLD_NS)
    r.is_answered = False
    r.hold_until = 0
    r.sent_at = transport_now(r.net)


cdef inline void note_answer(relay_t *r) noexcept nogil:
    """On a leader, note that main has sent a message."""
    if not r.is_answered:
        r.is_answered = True
        r.hold_ns = 2 * (transport_now(r.net) - r.sent_at)
        r.hold_ns = max(SHORTEST_HOLD_NS, min(r.hold_ns, LONGEST_HOLD_NS))


cdef inline void note_error(relay_t *r, int code) noexcept nogil:
    if code < 0:
        r.error = code
