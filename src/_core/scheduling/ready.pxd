# The ready set: the jobs that may run and are not assigned. The smallest id comes first.
#
# The set is a bitmap with summaries: a bit of level k + 1 tells that a word of level k is not
# zero. Push, pop and remove touch one word of each level, so their cost does not grow with the
# number of jobs. Jobs run in the order in which they were queued, whatever the order in which they
# become ready.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

cdef enum:
    READY_LEVELS = 6  # 64 ** 6 > 2 ** 31 jobs
    READY_EMPTY = -1
    READY_NO_MEMORY = -2

ctypedef struct level_t:
    uint64_t *words
    int64_t n_words

ctypedef struct ready_t:
    level_t[READY_LEVELS] levels
    int64_t count
    int64_t first  # the words of level 0 before this one are zero

cdef extern from *:
    int __builtin_ctzll(unsigned long long) noexcept nogil


cdef inline void ready_init(ready_t *r) noexcept nogil:
    memset(r, 0, sizeof(ready_t))


cdef inline void ready_free(ready_t *r) noexcept nogil:
    cdef int k
    for k in range(READY_LEVELS):
        free(r.levels[k].words)
    ready_init(r)


cdef inline int ready_reserve(ready_t *r, int64_t n_jobs) noexcept nogil:
    """Allocate memory for the ids below `n_jobs`."""
    cdef int64_t need = n_jobs
    cdef int k
    for k in range(READY_LEVELS):
        need = (need + 63) >> 6
        if need <= r.levels[k].n_words:
            return 0  # the levels above cover all words of this one
        if grow_level(&r.levels[k], need) < 0:
            return READY_NO_MEMORY
        need = r.levels[k].n_words
    return 0


cdef inline int grow_level(level_t *level, int64_t need) noexcept nogil:
    cdef int64_t wanted = level.n_words * 2 if level.n_words * 2 > need else need
    cdef uint64_t *words = <uint64_t *>realloc(level.words, <size_t>wanted * sizeof(uint64_t))
    if words == NULL:
        return READY_NO_MEMORY
    memset(words + level.n_words, 0, <size_t>(wanted - level.n_words) * sizeof(uint64_t))
    level.words = words
    level.n_words = wanted
    return 0


cdef inline bint ready_has(ready_t *r, int32_t job) noexcept nogil:
    return (r.levels[0].words[job >> 6] >> (job & 63)) & 1


cdef inline void ready_push(ready_t *r, int32_t job) noexcept nogil:
    """Add `job`, which is below the reserved number and not in the set."""
    cdef int64_t index = job
    cdef uint64_t before
    cdef int k
    r.count += 1
    if index >> 6 < r.first:
        r.first = index >> 6
    for k in range(READY_LEVELS):
        before = r.levels[k].words[index >> 6]
        r.levels[k].words[index >> 6] = before | (<uint64_t>1 << (index & 63))
        if before != 0:
            return  # the bits of the levels above are set
        index >>= 6


cdef inline int32_t ready_pop(ready_t *r) noexcept nogil:
    """Remove and return the smallest id; READY_EMPTY if there is none."""
    cdef int32_t first
    if r.count == 0:
        return READY_EMPTY
    first = find_first(r)
    clear(r, first)
    return first


cdef inline int32_t ready_first(ready_t *r) noexcept nogil:
    """Return the smallest id; READY_EMPTY if there is none."""
    return find_first(r) if r.count else READY_EMPTY


cdef inline int32_t find_first(ready_t *r) noexcept nogil:
    """Return the smallest id of a set that is not empty."""
    cdef int64_t index = 0
    cdef uint64_t word
    cdef int k
    word = r.levels[0].words[r.first]
    if word == 0:
        for k in range(READY_LEVELS - 1, 0, -1):
            index = (index << 6) | __builtin_ctzll(r.levels[k].words[index])
        r.first = index
        word = r.levels[0].words[index]
    return <int32_t>((r.first << 6) | __builtin_ctzll(word))


cdef inline bint ready_remove(ready_t *r, int32_t job) noexcept nogil:
    """Remove `job`; return whether it was in the set."""
    if not ready_has(r, job):
        return False
    clear(r, job)
    return True


cdef inline void clear(ready_t *r, int64_t index) noexcept nogil:
    cdef int k
    r.count -= 1
    for k in range(READY_LEVELS):
        r.levels[k].words[index >> 6] &= ~(<uint64_t>1 << (index & 63))
        if r.levels[k].words[index >> 6] != 0:
            return
        index >>= 6
