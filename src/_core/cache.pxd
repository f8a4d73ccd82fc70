from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, int64_t, uint64_t

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

cdef void cache_init(cache_t *c) noexcept nogil
cdef void cache_free(cache_t *c) noexcept nogil
cdef int32_t cache_item(cache_t *c, uint64_t token) noexcept nogil
cdef int32_t cache_set(cache_t *c, const int32_t *items, int64_t n) noexcept nogil
cdef int cache_acquire(cache_t *c, int32_t number) noexcept nogil
cdef int cache_release(cache_t *c, int32_t number) noexcept nogil
