# The messages between main and one worker, in order, whichever way they go.
#
# Each message has a number. Messages through a leader are kept until the receiver has confirmed
# them, with any message of its own, so that they can be sent again if the leader is lost.
from bsbpool._core.protocol.message cimport message_free, message_new, message_t
from bsbpool._core.protocol.message_queue cimport queue_pop, queue_push, queue_t
from bsbpool._core.protocol.wire cimport frame_t, header_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

ctypedef struct stream_t:
    uint32_t sent  # the number of the last message to the peer
    uint32_t received  # the number of the last message of the peer that was returned
    int32_t leader  # which rank relays messages to the peer; -1: none
    bint leads  # whether the peer is or was the leader of others
    bint is_confirming  # whether the peer was lost, and its leader may still have messages of it
    message_t *early  # messages of the peer that arrived before an earlier one, by number
    queue_t unconfirmed  # relayed messages to the peer
    frame_t *bundle  # the next message to the peer, which leads, or on a leader that to main


cdef inline header_t header_of(const message_t *m) noexcept nogil:
    cdef header_t header
    memcpy(&header, m.frame, sizeof(header_t))
    return header


cdef inline message_t *message_of(int peer, const uint8_t *frame, uint64_t size) noexcept nogil:
    """Return a message with a copy of a frame; NULL: memory is exhausted."""
    cdef message_t *m = message_new(peer, 0)
    if m == NULL:
        return NULL
    m.frame = <uint8_t *>malloc(<size_t>size)
    if m.frame == NULL:
        message_free(m)
        return NULL
    memcpy(m.frame, frame, <size_t>size)
    m.frame_size = size
    return m


cdef inline void set_route(message_t *m, uint8_t route) noexcept nogil:
    cdef header_t header = header_of(m)
    header.route = route
    memcpy(m.frame, &header, sizeof(header_t))


cdef inline void stream_number(stream_t *s, message_t *m, uint8_t route) noexcept nogil:
    """Write the number and the route of the next message to the peer into its header."""
    cdef header_t header = header_of(m)
    s.sent += 1
    header.route = route
    header.number = s.sent
    header.confirmed = s.received
    memcpy(m.frame, &header, sizeof(header_t))


cdef inline int stream_confirm(stream_t *s, uint32_t confirmed) noexcept nogil:
    """Free the messages that the peer has received; return how many these are."""
    cdef message_t *m = s.unconfirmed.first
    cdef int n = 0
    while m != NULL and <int32_t>(header_of(m).number - confirmed) <= 0:
        message_free(queue_pop(&s.unconfirmed))
        m = s.unconfirmed.first
        n += 1
    return n


cdef inline void stream_accept(stream_t *s, message_t *m, queue_t *ready) noexcept nogil:
    """Append a message of the peer to `ready`, and those that waited for it.

    It is kept if an earlier one has not arrived, and dropped if it has arrived before.
    """
    cdef uint32_t number = header_of(m).number
    cdef message_t **link = &s.early
    if <int32_t>(number - s.received) <= 0:
        message_free(m)
        return
    while link[0] != NULL and <int32_t>(header_of(link[0]).number - number) < 0:
        link = &link[0].next
    if link[0] != NULL and header_of(link[0]).number == number:
        message_free(m)
        return
    m.next = link[0]
    link[0] = m
    while s.early != NULL and header_of(s.early).number == s.received + 1:
        m = s.early
        s.early = m.next
        s.received += 1
        queue_push(ready, m)
