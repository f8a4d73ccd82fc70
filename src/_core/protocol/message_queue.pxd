# A queue of messages, linked by their field `next`.
from bsbpool._core.protocol.message cimport message_free, message_t

ctypedef struct queue_t:
    message_t *first
    message_t *last


cdef inline void queue_push(queue_t *q, message_t *m) noexcept nogil:
    m.next = NULL
    if q.first == NULL:
        q.first = m
    else:
        q.last.next = m
    q.last = m


cdef inline message_t *queue_pop(queue_t *q) noexcept nogil:
    cdef message_t *m = q.first
    if m != NULL:
        q.first = m.next
        m.next = NULL
    return m


cdef inline void queue_free(queue_t *q) noexcept nogil:
    cdef message_t *m = queue_pop(q)
    while m != NULL:
        message_free(m)
        m = queue_pop(q)
