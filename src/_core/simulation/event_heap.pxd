# The events of a simulation, the earliest first.
#
# A heap in which each node has four children: it has half the levels of a binary heap, and the
# children of a node are in one or two cache lines. Events of the same time come out in the order in
# which they were added, so a simulation is the same each time.
from bsbpool._core.vector cimport grow
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free
from libc.string cimport memset

ctypedef struct event_t:
    double time  # in ns
    int64_t order  # how many events were added before
    int32_t kind
    int32_t subject  # the worker, leader or message

ctypedef struct heap_t:
    event_t *events
    int64_t size
    int64_t capacity
    int64_t n_added


cdef inline void heap_init(heap_t *h) noexcept nogil:
    memset(h, 0, sizeof(heap_t))


cdef inline void heap_free(heap_t *h) noexcept nogil:
    free(h.events)
    heap_init(h)


cdef inline bint comes_before(event_t *a, event_t *b) noexcept nogil:
    return a.time < b.time or (a.time == b.time and a.order < b.order)


cdef inline int heap_push(
    heap_t *h, double time, int32_t kind, int32_t subject
) noexcept nogil:
    """Add an event; return a negative number when memory is exhausted."""
    cdef event_t event
    cdef int64_t i = h.size
    cdef int64_t parent
    if grow(<void **>&h.events, &h.capacity, h.size + 1, sizeof(event_t)) < 0:
        return -1
    event.time = time
    event.order = h.n_added
    event.kind = kind
    event.subject = subject
    h.n_added += 1
    h.size += 1
    while i:
        parent = (i - 1) >> 2
        if not comes_before(&event, &h.events[parent]):
            break
        h.events[i] = h.events[parent]
        i = parent
    h.events[i] = event
    return 0


cdef inline bint heap_pop(heap_t *h, event_t *first) noexcept nogil:
    """Remove the earliest event; return False if there is none."""
    cdef event_t last
    cdef int64_t i = 0
    cdef int64_t child
    cdef int64_t end
    cdef int64_t least
    if h.size == 0:
        return False
    first[0] = h.events[0]
    h.size -= 1
    last = h.events[h.size]
    while True:
        child = (i << 2) + 1
        if child >= h.size:
            break
        end = child + 4 if child + 4 < h.size else h.size
        least = child
        child += 1
        while child < end:
            if comes_before(&h.events[child], &h.events[least]):
                least = child
            child += 1
        if not comes_before(&h.events[least], &last):
            break
        h.events[i] = h.events[least]
        i = least
    h.events[i] = last
    return True
