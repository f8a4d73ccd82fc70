# How many unfinished jobs still need each cache item.
#
# Jobs of one kind need the same items, so items come in *sets* that are made
# once and shared. When the count of an item leaves or reaches zero, the item is
# appended to `changed`; each worker is told the part of that log that it has not
# seen with its next message, so nobody ever asks what is still needed.
from bsbpool._core.vector cimport grow, ints_free, ints_push, ints_t
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef enum:
    CACHE_NO_MEMORY = -1
    CACHE_NO_SET = -1

ctypedef struct item_t:
    uint64_t token  # what ranks call the item
    int64_t needed_by

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
    ints_t members
    ints_t changed  # items that became needed or unneeded, in order
    int64_t n_needed

cdef inline void cache_init(cache_t *c) noexcept nogil:
    memset(c, 0, sizeof(cache_t))


cdef inline void cache_free(cache_t *c) noexcept nogil:
    free(c.items)
    free(c.sets)
    ints_free(&c.members)
    ints_free(&c.changed)
    cache_init(c)


cdef inline int32_t cache_item(cache_t *c, uint64_t token) noexcept nogil:
    """Add an item that nobody needs yet; return its number."""
    if c.n_items == INT32_MAX:
        return CACHE_NO_MEMORY
    if grow(<void **>&c.items, &c.item_capacity, c.n_items + 1, sizeof(item_t)) < 0:
        return CACHE_NO_MEMORY
    c.items[c.n_items].token = token
    c.items[c.n_items].needed_by = 0
    c.n_items += 1
    return <int32_t>(c.n_items - 1)


cdef inline int32_t cache_set(cache_t *c, const int32_t *items, int64_t n) noexcept nogil:
    """Add a set of known items, each at most once; return its number."""
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
    """One more unfinished job needs the items of set `number`."""
    cdef item_set_t *chosen = &c.sets[number]
    cdef item_t *item
    cdef int64_t i
    for i in range(chosen.start, chosen.start + chosen.size):
        item = &c.items[c.members.data[i]]
        item.needed_by += 1
        if item.needed_by == 1:
            c.n_needed += 1
            if ints_push(&c.changed, c.members.data[i]) < 0:
                return CACHE_NO_MEMORY
    return 0


cdef inline int cache_release(cache_t *c, int32_t number) noexcept nogil:
    """One job fewer needs the items of set `number`."""
    cdef item_set_t *chosen = &c.sets[number]
    cdef item_t *item
    cdef int64_t i
    for i in range(chosen.start, chosen.start + chosen.size):
        item = &c.items[c.members.data[i]]
        item.needed_by -= 1
        if item.needed_by == 0:
            c.n_needed -= 1
            if ints_push(&c.changed, c.members.data[i]) < 0:
                return CACHE_NO_MEMORY
    return 0
