# Messages sorted by the run that they belong to.
#
# Each pool on a communicator has an *run id*, counted alike on all ranks. A frame of an run id that
# ended here is dropped (say the late reply of a job that main did not wait for); one of an run id
# that is not read yet is kept for it (main is one pool ahead of a busy worker).
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from bsbpool._core.protocol.wire cimport header_t
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

cdef enum:
    SHUTDOWN_RUN_ID = 0x7FFFFFFF  # the run id of the last message of a rank

ctypedef struct demux_t:
    ints_t open
    uint32_t next  # the first is 1: 0 is nobody's
    message_t *stash  # kept for demux that are not read yet, oldest first

cdef inline uint32_t run_id_of(message_t *m) noexcept nogil:
    cdef header_t header
    memcpy(&header, m.frame, sizeof(header_t))
    return header.run_id

cdef inline void demux_init(demux_t *e) noexcept nogil:
    e.open.data = NULL
    e.open.size = e.open.capacity = 0
    e.next = 1
    e.stash = NULL

cdef inline void demux_free(demux_t *e) noexcept nogil:
    cdef message_t *m
    while e.stash != NULL:
        m = e.stash
        e.stash = m.next
        message_free(m)
    ints_free(&e.open)

cdef inline int demux_open(demux_t *e) noexcept nogil:
    """Open the run id `next`: 0, or a negative number when memory is out."""
    cdef int code = ints_push(&e.open, <int32_t>e.next)
    e.next += code == 0
    return code

cdef inline void demux_close(demux_t *e, uint32_t run_id) noexcept nogil:
    """End an run id; what is kept for it is the caller's to `unstash`."""
    cdef int64_t i
    for i in range(e.open.size):
        if <uint32_t>e.open.data[i] == run_id:
            e.open.size -= 1
            e.open.data[i] = e.open.data[e.open.size]
            break

cdef inline bint is_closed(demux_t *e, uint32_t run_id) noexcept nogil:
    cdef int64_t i
    if run_id >= e.next:
        return False
    for i in range(e.open.size):
        if <uint32_t>e.open.data[i] == run_id:
            return False
    return True

cdef inline void stash(demux_t *e, message_t *m) noexcept nogil:
    """Keep a message for its run id."""
    cdef message_t **link = &e.stash
    while link[0] != NULL:
        link = &link[0].next
    link[0] = m

cdef inline message_t *unstash(demux_t *e, uint32_t run_id) noexcept nogil:
    """Return the oldest message that is kept for an run id, or NULL."""
    cdef message_t **link = &e.stash
    cdef message_t *m
    while link[0] != NULL:
        m = link[0]
        if run_id_of(m) == run_id:
            link[0] = m.next
            m.next = NULL
            return m
        link = &m.next
    return NULL
