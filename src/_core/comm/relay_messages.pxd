# Receiving messages that leaders relay, and relaying them, see `relay`.
from bsbpool._core.comm.relay_bundles cimport (
    IS_RELAYED,
    MAIN,
    RELAY_RUN_ID,
    append_to_bundle,
    flush_bundles,
    note_answer,
    note_error,
    note_peer,
    relay_t,
    stream_of,
    transmit,
)
from bsbpool._core.comm.relay_losses cimport collect_lost, confirm_loss
from bsbpool._core.comm.relay_streams cimport (
    header_of,
    message_of,
    stream_accept,
    stream_confirm,
    stream_t,
)
from bsbpool._core.comm.transport cimport TRANSPORT_MALFORMED, TRANSPORT_NO_MEMORY, transport_now
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.message_queue cimport queue_push
from bsbpool._core.protocol.wire cimport (
    CONFIRM_LOSS,
    FROM_MAIN,
    LOSS_CONFIRMED,
    RELAYED,
    TO_MAIN,
    cursor_next,
    cursor_open,
    cursor_t,
    header_t,
    record_t,
)
from bsbpool._core.vector cimport ints_push
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef inline void receive_messages(relay_t *r) noexcept nogil:
    """Receive messages until one is ready for `poll` or no more has arrived."""
    cdef message_t *m
    while r.ready.first == NULL:
        m = r.net.poll(r.net, &r.error)
        if m == NULL:
            break
        take_message(r, m)
    if r.n_confirming:
        collect_lost(r)
    if r.unsent.size and r.ready.first == NULL and not must_hold(r):
        note_error(r, flush_bundles(r))


cdef inline bint relay_arrived(relay_t *r) noexcept nogil:
    """Relay the messages that have arrived, for a rank that does not poll.

    Its own messages are kept for `poll`. Returns whether there were any messages.
    """
    cdef message_t *m = r.net.poll(r.net, &r.error)
    cdef bint found = m != NULL
    while m != NULL:
        take_message(r, m)
        m = r.net.poll(r.net, &r.error)
    collect_lost(r)
    if r.unsent.size and not must_hold(r):
        note_error(r, flush_bundles(r))
    return found or r.hold_until


cdef inline bint must_hold(relay_t *r) noexcept nogil:
    """Whether a leader holds its bundle for main back, so that it grows while main is busy."""
    cdef int64_t now
    if r.rank == MAIN or r.is_answered:
        return False
    now = transport_now(r.net)
    if r.hold_until == 0:
        r.hold_until = now + r.hold_ns
    return now < r.hold_until


cdef inline void take_message(relay_t *r, message_t *m) noexcept nogil:
    """Relay a message that has arrived, or append it to those that are ready."""
    cdef header_t header = header_of(m)
    cdef stream_t *stream
    if r.rank != MAIN and m.peer == MAIN:
        note_answer(r)
    if header.run_id == RELAY_RUN_ID:
        unpack_bundle(r, m)
    elif header.route == TO_MAIN and r.rank != MAIN:
        note_error(r, relay_to_main(r, m))
    elif r.rank != MAIN and (header.route == FROM_MAIN or m.peer == MAIN):
        take_from_main(r, m)
    elif r.rank == MAIN and header.number:
        stream = stream_of(r, m.peer)
        r.n_unconfirmed -= stream_confirm(stream, header.confirmed)
        stream_accept(stream, m, &r.ready)
    else:
        queue_push(&r.ready, m)


cdef inline void take_from_main(relay_t *r, message_t *m) noexcept nogil:
    """Take a message of main, and answer on the way on which it came from now on."""
    cdef header_t header = header_of(m)
    cdef stream_t *stream = stream_of(r, MAIN)
    cdef int64_t i
    if header.number == 0:
        queue_push(&r.ready, m)
        return
    if header.route == FROM_MAIN:
        stream.leader = m.peer
        for i in range(r.leaders.size):
            if r.leaders.data[i] == m.peer:
                break
        else:
            note_error(r, TRANSPORT_NO_MEMORY if ints_push(&r.leaders, m.peer) < 0 else 0)
        m.peer = MAIN
    elif m.n_parts == 0:
        stream.leader = -1
    r.n_unconfirmed -= stream_confirm(stream, header.confirmed)
    stream_accept(stream, m, &r.ready)


cdef inline void unpack_bundle(relay_t *r, message_t *m) noexcept nogil:
    """Relay the messages of a bundle of main; on main take those of a leader."""
    cdef cursor_t cursor
    cdef record_t record
    cdef const uint8_t *payload
    cdef message_t *copy
    cdef int code = cursor_open(&cursor, m.frame, m.frame_size)
    while code >= 0 and cursor_next(&cursor, &record, &payload) == 1:
        if not 0 < record.id < r.net.n_ranks:
            code = TRANSPORT_MALFORMED
        elif record.kind == CONFIRM_LOSS:
            code = confirm_loss(r, <int>record.id)
        elif record.kind == LOSS_CONFIRMED and r.rank == MAIN:
            if r.streams[record.id].is_confirming:
                r.streams[record.id].is_confirming = False
                code = ints_push(&r.lost, <int32_t>record.id)
        elif record.kind == RELAYED and record.size >= sizeof(header_t):
            if r.rank != MAIN and record.id != r.rank:
                code = relay_to_worker(r, <int>record.id, payload, record.size)
                continue
            copy = message_of(<int>record.id if r.rank == MAIN else MAIN, payload, record.size)
            if copy == NULL:
                code = TRANSPORT_NO_MEMORY
            else:
                take_message(r, copy)
    note_error(r, code)
    message_free(m)


cdef inline int relay_to_main(relay_t *r, message_t *m) noexcept nogil:
    """Append a message of a worker to the bundle for main."""
    cdef int code = append_to_bundle(r, MAIN, RELAYED, m.peer, m.frame, m.frame_size)
    r.is_leader = True
    if not note_peer(r, m.peer, IS_RELAYED):
        code = TRANSPORT_NO_MEMORY
    message_free(m)
    return code


cdef inline int relay_to_worker(
    relay_t *r, int worker, const uint8_t *frame, uint64_t size
) noexcept nogil:
    """Send a message of main on to a worker."""
    cdef message_t *m = message_of(worker, frame, size)
    r.is_leader = True
    if m == NULL or not note_peer(r, worker, IS_RELAYED):
        return TRANSPORT_NO_MEMORY
    return transmit(r, m)
