from libc.stdint cimport int32_t, int64_t, uint64_t

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

cdef void ready_init(ready_t *r) noexcept nogil
cdef void ready_free(ready_t *r) noexcept nogil
cdef int ready_reserve(ready_t *r, int64_t n_jobs) noexcept nogil
cdef void ready_push(ready_t *r, int32_t job) noexcept nogil
cdef int32_t ready_pop(ready_t *r) noexcept nogil
cdef bint ready_remove(ready_t *r, int32_t job) noexcept nogil
cdef bint ready_has(ready_t *r, int32_t job) noexcept nogil
