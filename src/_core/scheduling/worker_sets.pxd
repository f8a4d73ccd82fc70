# Sets of workers, each stored once: where jobs may run, or where they had better run.
#
# A set is a sorted array of workers. Equal sets have the same number, so sets are compared by their
# numbers. They are found by a hash of their members.
from bsbpool._core.vector cimport grow, ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memset

cdef enum:
    SETS_NO_MEMORY = -2
    NO_SET = -1
    N_SET_CHAINS = 256

ctypedef struct worker_set_t:
    int64_t start
    int64_t size
    int32_t next  # the next set with this hash, or NO_SET

ctypedef struct worker_sets_t:
    worker_set_t *sets
    int64_t n
    int64_t capacity
    ints_t members  # of all sets
    int32_t[N_SET_CHAINS] chains  # the first set of each hash, plus 1


cdef inline void worker_sets_init(worker_sets_t *s) noexcept nogil:
    memset(s, 0, sizeof(worker_sets_t))


cdef inline void worker_sets_free(worker_sets_t *s) noexcept nogil:
    free(s.sets)
    ints_free(&s.members)
    worker_sets_init(s)


cdef inline int ints_insert(ints_t *v, int32_t value) noexcept nogil:
    """Insert a value into a sorted array, unless it has it."""
    cdef int64_t i = v.size
    cdef int64_t j
    while i and v.data[i - 1] > value:
        i -= 1
    if i and v.data[i - 1] == value:
        return 0
    if ints_push(v, value) < 0:
        return SETS_NO_MEMORY
    for j in range(v.size - 1, i, -1):
        v.data[j] = v.data[j - 1]
    v.data[i] = value
    return 0


cdef inline int32_t worker_sets_find(worker_sets_t *s, ints_t *workers) noexcept nogil:
    """Return the number of the set of the sorted `workers`; add it if it is new."""
    cdef uint32_t key = 0
    cdef int32_t number
    cdef int64_t i
    for i in range(workers.size):
        key = key * 31 + <uint32_t>workers.data[i]
    key %= N_SET_CHAINS
    number = s.chains[key] - 1
    while number != NO_SET:
        # An empty set has no data that could be compared.
        if s.sets[number].size == workers.size and (workers.size == 0 or memcmp(
            s.members.data + s.sets[number].start, workers.data,
            <size_t>workers.size * sizeof(int32_t),
        ) == 0):
            return number
        number = s.sets[number].next
    if grow(<void **>&s.sets, &s.capacity, s.n + 1, sizeof(worker_set_t)) < 0:
        return SETS_NO_MEMORY
    s.sets[s.n] = worker_set_t(s.members.size, workers.size, s.chains[key] - 1)
    for i in range(workers.size):
        if ints_push(&s.members, workers.data[i]) < 0:
            return SETS_NO_MEMORY
    s.n += 1
    s.chains[key] = <int32_t>s.n
    return <int32_t>(s.n - 1)


cdef inline bint worker_sets_has(worker_sets_t *s, int32_t number, int32_t worker) noexcept nogil:
    """Whether a worker is in a set; NO_SET is the set of all workers."""
    cdef int64_t low
    cdef int64_t high
    cdef int64_t middle
    if number == NO_SET:
        return True
    low = s.sets[number].start
    high = low + s.sets[number].size
    while low < high:
        middle = (low + high) // 2
        if s.members.data[middle] < worker:
            low = middle + 1
        else:
            high = middle
    return (
        low < s.sets[number].start + s.sets[number].size and s.members.data[low] == worker
    )
