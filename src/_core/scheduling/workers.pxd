from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    WORKERS_NO_MEMORY = -1
    NO_WORKER = -1
    MAX_CREDIT = 256

cdef enum listed_t:
    OF_NONE = 0
    OF_IDLE = 1
    OF_SPARE = 2

ctypedef struct worker_t:
    int32_t first  # jobs sent to it, in the order it runs them
    int32_t last
    int32_t in_flight
    int32_t credit
    int64_t seen  # how much of the cache's log of changes it was told
    double run_ns  # smoothed run time of its jobs; negative: none known
    int32_t place  # its index in the list that it stands in
    uint8_t listed  # which list: a listed_t
    bint alive

ctypedef struct workers_t:
    worker_t *slots
    int32_t n
    ints_t idle  # those that run nothing
    ints_t spare  # those that run something and may get more
    int64_t in_flight
    int32_t n_away  # workers that get no jobs

cdef void workers_init(workers_t *w) noexcept nogil
cdef void workers_free(workers_t *w) noexcept nogil
cdef int workers_open(workers_t *w, int32_t n) noexcept nogil
cdef int32_t workers_next(workers_t *w) noexcept nogil
cdef void workers_unlist(workers_t *w, int32_t number) noexcept nogil
cdef void workers_list(workers_t *w, int32_t number) noexcept nogil
cdef void workers_measure(workers_t *w, int32_t number, double run_ns) noexcept nogil
