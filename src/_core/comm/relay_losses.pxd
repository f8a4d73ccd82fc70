# The loss of leaders, and of workers behind leaders, see `relay`.
from bsbpool._core.comm.relay_bundles cimport (
    IS_CONFIRMING,
    IS_LOST,
    MAIN,
    append_to_bundle,
    note_error,
    note_peer,
    relay_t,
    stream_of,
    transmit,
)
from bsbpool._core.comm.relay_streams cimport set_route, stream_t
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.protocol.message_queue cimport queue_pop
from bsbpool._core.protocol.wire cimport CONFIRM_LOSS, DIRECT, LOSS_CONFIRMED
from bsbpool._core.vector cimport ints_push

cdef inline int stop_relaying(relay_t *r) noexcept nogil:
    """Send messages directly from now on, also those that were not confirmed."""
    cdef int code = 0
    cdef int i
    for i in range(r.net.n_ranks if r.rank == MAIN else 1):
        if not r.streams[i].is_confirming:
            r.streams[i].leader = -1
            code = min(code, resend_unconfirmed(r, &r.streams[i]))
    return code


cdef inline int confirm_loss(relay_t *r, int worker) noexcept nogil:
    """Let main know when all messages of a worker that was lost are relayed."""
    if not note_peer(r, worker, IS_CONFIRMING):
        return TRANSPORT_NO_MEMORY
    if r.peers[worker] & IS_LOST:
        return append_to_bundle(r, MAIN, LOSS_CONFIRMED, worker, NULL, 0)
    r.n_confirming += 1
    r.net.mark_failed(r.net, worker)
    return 0


cdef inline void collect_lost(relay_t *r) noexcept nogil:
    """Handle the ranks that were lost since the last call."""
    cdef int peer = r.net.next_lost(r.net)
    while peer >= 0:
        if not note_peer(r, peer, IS_LOST):
            note_error(r, TRANSPORT_NO_MEMORY)
        elif r.rank == MAIN:
            note_error(r, handle_loss_on_main(r, peer))
        else:
            note_error(r, handle_loss(r, peer))
        peer = r.net.next_lost(r.net)


cdef inline int handle_loss(relay_t *r, int peer) noexcept nogil:
    """Handle the loss of a rank, on a worker: it may be the leader, or a worker of this one."""
    cdef stream_t *stream = stream_of(r, MAIN)
    cdef int code = ints_push(&r.lost, peer)
    if r.peers[peer] & IS_CONFIRMING:
        r.n_confirming -= 1
        code = min(code, append_to_bundle(r, MAIN, LOSS_CONFIRMED, peer, NULL, 0))
    if stream.leader == peer:
        stream.leader = -1
    if peer != MAIN:
        code = min(code, resend_unconfirmed(r, stream))
    return code


cdef inline int handle_loss_on_main(relay_t *r, int peer) noexcept nogil:
    """Handle the loss of a worker: wait for its leader, or use no leader in its place."""
    cdef stream_t *stream = &r.streams[peer]
    cdef int code = 0
    cdef int worker
    if stream.leads:
        for worker in range(1, r.net.n_ranks):
            if r.streams[worker].leader == peer:
                r.streams[worker].leader = -1
                if r.streams[worker].is_confirming:
                    r.streams[worker].is_confirming = False
                    code = min(code, ints_push(&r.lost, worker))
            if r.streams[worker].leader < 0:
                code = min(code, resend_unconfirmed(r, &r.streams[worker]))
    if stream.leader < 0:
        return min(code, ints_push(&r.lost, peer))
    stream.is_confirming = True
    return min(code, append_to_bundle(r, stream.leader, CONFIRM_LOSS, peer, NULL, 0))


cdef inline int resend_unconfirmed(relay_t *r, stream_t *stream) noexcept nogil:
    """Send the messages that the peer has not confirmed once more, directly."""
    cdef message_t *m = queue_pop(&stream.unconfirmed)
    cdef int code = 0
    while m != NULL:
        r.n_unconfirmed -= 1
        set_route(m, DIRECT)
        code = min(code, transmit(r, m))
        m = queue_pop(&stream.unconfirmed)
    return code
