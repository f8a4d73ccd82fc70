from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    WORKERS_NO_MEMORY = -1
    NO_WORKER = -1
    MAX_CREDIT = 256

cdef enum list_t:
    NOT_LISTED = 0
    IN_IDLE = 1
    IN_SPARE = 2

ctypedef struct worker_t:
    int32_t first  # the ends of its queue of jobs; -1 if it is empty
    int32_t last
    int32_t in_flight  # the length of its queue
    int32_t credit  # how many jobs it may hold
    int64_t cache_seen  # how many changes of the cache log it was sent
    double run_ns  # smoothed run time of its jobs; negative if unknown
    int32_t list_index  # its index in `idle` or `spare`
    uint8_t list  # the list that it is in, a list_t
    bint available  # whether it may get jobs

ctypedef struct workers_t:
    worker_t *slots
    int32_t n
    ints_t idle  # available workers without jobs
    ints_t spare  # available workers that hold jobs and have credit left
    int64_t in_flight  # the jobs of all queues
    int32_t n_unavailable

cdef void workers_init(workers_t *w) noexcept nogil
cdef void workers_free(workers_t *w) noexcept nogil
cdef int workers_open(workers_t *w, int32_t n) noexcept nogil
cdef int32_t workers_next(workers_t *w) noexcept nogil
cdef void workers_unlist(workers_t *w, int32_t number) noexcept nogil
cdef void workers_list(workers_t *w, int32_t number) noexcept nogil
cdef void workers_set_available(workers_t *w, int32_t number, bint available) noexcept nogil
cdef void workers_measure(workers_t *w, int32_t number, double run_ns) noexcept nogil
