# Messages sorted by the run that they belong to.
#
# Each pool on a communicator has an *epoch*, counted alike on all ranks. A frame of an epoch that
# ended here is dropped (say the late reply of a job that main did not wait for); one of an epoch
# that is not read yet is kept for it (main is one pool ahead of a busy worker).
from bsbpool._core.transport cimport message_free, message_t
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from bsbpool._core.wire cimport header_t
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    FAREWELL = 0x7FFFFFFF  # the epoch of the last message of a rank

ctypedef struct epochs_t:
    ints_t open
    uint32_t next  # the first is 1: 0 is nobody's
    message_t *stash  # kept for epochs that are not read yet, oldest first

cdef inline uint32_t epoch_of(message_t *m) noexcept nogil:
    cdef header_t header
    memcpy(&header, m.frame, sizeof(header_t))
    return header.epoch

cdef inline void epochs_init(epochs_t *e) noexcept nogil:
    e.open.data = NULL
    e.open.size = e.open.capacity = 0
    e.next = 1
    e.stash = NULL

cdef inline void epochs_free(epochs_t *e) noexcept nogil:
    cdef message_t *m
    while e.stash != NULL:
        m = e.stash
        e.stash = m.next
        message_free(m)
    ints_free(&e.open)

cdef inline int epochs_open(epochs_t *e) noexcept nogil:
    """Open the epoch `next`: 0, or a negative number when memory is out."""
    cdef int code = ints_push(&e.open, <int32_t>e.next)
    e.next += code == 0
    return code

cdef inline void epochs_close(epochs_t *e, uint32_t epoch) noexcept nogil:
    """End an epoch; what is kept for it is the caller's to `unstash`."""
    cdef int64_t i
    for i in range(e.open.size):
        if <uint32_t>e.open.data[i] == epoch:
            e.open.size -= 1
            e.open.data[i] = e.open.data[e.open.size]
            break

cdef inline bint is_closed(epochs_t *e, uint32_t epoch) noexcept nogil:
    cdef int64_t i
    if epoch >= e.next:
        return False
    for i in range(e.open.size):
        if <uint32_t>e.open.data[i] == epoch:
            return False
    return True

cdef inline void stash(epochs_t *e, message_t *m) noexcept nogil:
    """Keep a message for its epoch."""
    cdef message_t **link = &e.stash
    while link[0] != NULL:
        link = &link[0].next
    link[0] = m

cdef inline message_t *unstash(epochs_t *e, uint32_t epoch) noexcept nogil:
    """Return the oldest message that is kept for an epoch, or NULL."""
    cdef message_t **link = &e.stash
    cdef message_t *m
    while link[0] != NULL:
        m = link[0]
        if epoch_of(m) == epoch:
            link[0] = m.next
            m.next = NULL
            return m
        link = &m.next
    return NULL
