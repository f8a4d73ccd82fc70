# Reference counts of cache items: how many unfinished jobs need each item.
#
# Many jobs need the same items, so a job refers to a *set* of items that jobs share. When a
# reference count becomes nonzero or zero, the item is appended to the log `changed`. Each worker
# is sent the part of the log that is new to it with its next message.
#
# *Data items* are results and broadcast objects that jobs have as arguments. Only the main rank
# counts the jobs that need them; they are not in `changed`. When the last of these jobs has ended,
# the item is appended to `unused`.
from bsbpool._core.vector cimport grow, ints_free, ints_push, ints_t
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef enum:
    CACHE_NO_MEMORY = -1
    CACHE_NO_SET = -1

ctypedef struct item_t:
    uint64_t token  # identifies the item on all ranks; of a data item: its id
    int64_t ref_count
    bint is_data

ctypedef struct item_set_t:
    int64_t start
    int64_t size
    bint has_data  # whether data items are among them

ctypedef struct cache_t:
    item_t *items
    int64_t n_items
    int64_t item_capacity
    item_set_t *sets
    int64_t n_sets
    int64_t set_capacity
    ints_t members  # the items of all sets
    ints_t changed  # the log: items that became needed or unneeded, in order
    ints_t unused  # data items that became unneeded
    int64_t n_needed  # without data items


cdef inline void cache_init(cache_t *c) noexcept nogil:
    memset(c, 0, sizeof(cache_t))


cdef inline void cache_free(cache_t *c) noexcept nogil:
    free(c.items)
    free(c.sets)
    ints_free(&c.members)
    ints_free(&c.changed)
    ints_free(&c.unused)
    cache_init(c)


cdef inline int32_t cache_add_item(cache_t *c, uint64_t token) noexcept nogil:
    """Add an item that no job needs yet; return its number or CACHE_NO_MEMORY."""
    if c.n_items == INT32_MAX:
        return CACHE_NO_MEMORY
    if grow(<void **>&c.items, &c.item_capacity, c.n_items + 1, sizeof(item_t)) < 0:
        return CACHE_NO_MEMORY
    c.items[c.n_items].token = token
    c.items[c.n_items].ref_count = 0
    c.items[c.n_items].is_data = False
    c.n_items += 1
    return <int32_t>(c.n_items - 1)


cdef inline int32_t cache_add_data(cache_t *c, int64_t id) noexcept nogil:
    """Add a data item that no job needs yet; return its number or CACHE_NO_MEMORY."""
    cdef int32_t number = cache_add_item(c, <uint64_t>id)
    if number >= 0:
        c.items[number].is_data = True
    return number


cdef inline int32_t cache_add_set(cache_t *c, const int32_t *items, int64_t n) noexcept nogil:
    """Add a set of existing items, each at most once; return its number or CACHE_NO_MEMORY."""
    cdef int64_t start = c.members.size
    cdef bint has_data = False
    cdef int64_t i
    if grow(<void **>&c.sets, &c.set_capacity, c.n_sets + 1, sizeof(item_set_t)) < 0:
        return CACHE_NO_MEMORY
    for i in range(n):
        if ints_push(&c.members, items[i]) < 0:
            c.members.size = start
            return CACHE_NO_MEMORY
        has_data = has_data or c.items[items[i]].is_data
    c.sets[c.n_sets].start = start
    c.sets[c.n_sets].size = n
    c.sets[c.n_sets].has_data = has_data
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
        if item.ref_count == 1 and not item.is_data:
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
        if item.ref_count == 0 and item.is_data:
            if ints_push(&c.unused, c.members.data[i]) < 0:
                return CACHE_NO_MEMORY
        elif item.ref_count == 0:
            c.n_needed -= 1
            if ints_push(&c.changed, c.members.data[i]) < 0:
                return CACHE_NO_MEMORY
    return 0
