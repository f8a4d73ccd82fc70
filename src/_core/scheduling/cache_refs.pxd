# Reference counts of cache items: how many unfinished jobs need each item.
#
# Many jobs need the same items, so a job refers to a *set* of items that jobs share. When a
# reference count becomes nonzero or zero, the item is appended to the log `changed`. Each worker
# is sent the part of the log that is new to it with its next message.
from bsbpool._core.vector cimport grow, ints_free, ints_push, ints_t
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef enum:
    CACHE_NO_MEMORY = -1
    CACHE_NO_SET = -1

ctypedef struct item_t:
    uint64_t token  # identifies the item on all ranks
    int64_t ref_count

ctypedef struct item_set_t:
    int64_t start
    int64_t size

ctypedef struct cache_t:
    item_t *items
    int64_t n_items
    int64_t item_capacity
    item_set_t *sets
    int64_t n_sets
    int64_t set_capacity
    ints_t members  # the items of all sets
    ints_t changed  # the log: items that became needed or unneeded, in order
    int64_t n_needed


cdef inline void cache_init(cache_t *c) noexcept nogil:
    memset(c, 0, sizeof(cache_t))


cdef inline void cache_free(cache_t *c) noexcept nogil:
    free(c.items)
    free(c.sets)
    ints_free(&c.members)
    ints_free(&c.changed)
    cache_init(c)


cdef inline int32_t cache_add_item(cache_t *c, uint64_t token) noexcept nogil:
    """Add an item that no job needs yet; return its number or CACHE_NO_MEMORY."""
    if c.n_items == INT32_MAX:
        return CACHE_NO_MEMORY
    if grow(<void **>&c.items, &c.item_capacity, c.n_items + 1, sizeof(item_t)) < 0:
        return CACHE_NO_MEMORY
    c.items[c.n_items].token = token
    c.items[c.n_items].ref_count = 0
    c.n_items += 1
    return <int32_t>(c.n_items - 1)


cdef inline int32_t cache_add_set(cache_t *c, const int32_t *items, int64_t n) noexcept nogil:
    """Add a set of existing items, each at most once; return its number or CACHE_NO_MEMORY."""
    cdef int64_t start = c.members.size
    cdef int64_t i
    if grow(<void **>&c.sets, &c.set_capacity, c.n_sets + 1, sizeof(item_set_t)) < 0:
        return CACHE_NO_MEMORY
    for i in range(n):
        if ints_push(&c.members, items[i]) < 0:
            c.members.size = start
            return CACHE_NO_MEMORY
    c.sets[c.n_sets].start = start
    c.sets[c.n_sets].size = n
    c.n_sets += 1
    return <int32_t>(c.n_sets - 1)


cdef inline int cache_acquire(cache_t *c, int32_t number) noexcept nogil:
    """Count one more unfinished job that needs the items of set `number`."""
    cdef item_set_t *chosen = &c.sets[number]
    cdef item_t *item
    cdef int64_t i
    for i in range(chosen.start, chosen.start + chosen.size):
        item = &c.items[c.members.data[i]]
        item.ref_count += 1
        if item.ref_count == 1:
            c.n_needed += 1
            if ints_push(&c.changed, c.members.data[i]) < 0:
                return CACHE_NO_MEMORY
    return 0


cdef inline int cache_release(cache_t *c, int32_t number) noexcept nogil:
    """Count one unfinished job less that needs the items of set `number`."""
    cdef item_set_t *chosen = &c.sets[number]
    cdef item_t *item
    cdef int64_t i
    for i in range(chosen.start, chosen.start + chosen.size):
        item = &c.items[c.members.data[i]]
        item.ref_count -= 1
        if item.ref_count == 0:
            c.n_needed -= 1
            if ints_push(&c.changed, c.members.data[i]) < 0:
                return CACHE_NO_MEMORY
    return 0
