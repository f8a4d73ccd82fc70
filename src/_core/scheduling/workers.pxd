# The workers of a pool, and which of them can get another job.
#
# A worker's *credit* is the number of jobs that it may hold, including the one that it runs.
# Sending jobs ahead hides the round trip of a message, but a job that was sent ahead waits behind
# the running one. So the credit follows the measured run times: it allows about AHEAD_NS of work,
# which is many jobs of a microsecond and at most one long job. The first job of a worker is sent
# alone, as no run time is known yet.
#
# Main must be able to send each worker a message in the time that the credit covers. So it grows
# with the number of workers (`ahead_ns`), and with many workers they hold their replies back for
# a part of it (`hold_ns`). Otherwise jobs of some milliseconds would travel one by one, and main
# would not keep up.
#
# Idle workers come before busy ones, so that jobs are spread over all workers before any worker
# gets a second one. Each list is an array that is popped from its end; a worker is in at most one
# list. Without prefetch the idle workers are a binary heap, with the one that was idle for longest
# at index 0.
from bsbpool._core.bits cimport bits_free, bits_open, bits_t
from bsbpool._core.vector cimport grow, ints_free, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef enum:
    WORKERS_NO_MEMORY = -1
    NO_WORKER = -1
    FIRST_CREDIT = 1
    MAX_CREDIT = 256
    AHEAD_NS = 1_000_000
    AHEAD_PER_WORKER_NS = 4_000
    MANY_MEASURED = 256  # run times
    MOST_KIB_AHEAD = 1_000  # of arguments; a worker needs memory for all that it holds

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
    int64_t n_done  # the replies about jobs that ran
    double busy_ns  # the sum of their run times
    uint64_t peak_kib  # the largest resident memory that it has reported
    int64_t last_used  # when it got its last job, as a number of jobs; without prefetch only
    uint8_t list  # the list that it is in, a list_t
    uint8_t available  # whether it may get jobs
    uint8_t lost  # whether it has died
    uint8_t reserved  # for a job on several workers; it is not `available` then

ctypedef struct workers_t:
    worker_t *slots
    int32_t n
    ints_t idle  # available workers without jobs
    ints_t spare  # available workers that hold jobs and have credit left
    bits_t deep  # workers that got a job behind another one; some have no longer several
    int64_t in_flight  # the jobs of all queues
    int64_t n_used  # counts the jobs, without prefetch only
    int64_t ahead_ns  # how much work a worker may hold; jobs of twice that are not sent ahead
    int32_t most_each  # how many jobs a worker may hold in any case, see `workers_share`
    double run_ns  # smoothed run time of all jobs, and how many these are; with `hold_ns` only
    int64_t n_measured
    int64_t hold_ns  # how long workers may hold back a reply while they have more jobs
    bint one_each  # no prefetch: one job for each worker, first for that which was idle longest
    int32_t n_unavailable
    int32_t n_lost


cdef inline void workers_init(workers_t *w) noexcept nogil:
    memset(w, 0, sizeof(workers_t))


cdef inline void workers_free(workers_t *w) noexcept nogil:
    free(w.slots)
    ints_free(&w.idle)
    ints_free(&w.spare)
    bits_free(&w.deep)
    workers_init(w)


cdef inline int workers_open(workers_t *w, int32_t n) noexcept nogil:
    """Add `n` idle workers. Allocate the lists in full, so that listing cannot fail later."""
    cdef int32_t i
    w.slots = <worker_t *>calloc(n, sizeof(worker_t))
    if w.slots == NULL:
        return WORKERS_NO_MEMORY
    if grow(<void **>&w.idle.data, &w.idle.capacity, n, 4) < 0:
        return WORKERS_NO_MEMORY
    if grow(<void **>&w.spare.data, &w.spare.capacity, n, 4) < 0:
        return WORKERS_NO_MEMORY
    if bits_open(&w.deep, n) < 0:
        return WORKERS_NO_MEMORY
    w.n = n
    workers_set_ahead(w, AHEAD_PER_WORKER_NS * <int64_t>n)
    for i in range(n - 1, -1, -1):  # so that `workers_next` returns worker 0 first
        w.slots[i].first = w.slots[i].last = -1
        w.slots[i].credit = FIRST_CREDIT
        w.slots[i].run_ns = -1
        w.slots[i].available = True
        workers_list(w, i)
    return 0


cdef inline void workers_set_ahead(workers_t *w, int64_t ns) noexcept nogil:
    """Set how much work may be sent ahead to a worker, at least AHEAD_NS."""
    w.ahead_ns = max(ns, AHEAD_NS)
    w.hold_ns = w.ahead_ns // 2 if w.ahead_ns > AHEAD_NS else 0
    w.most_each = MAX_CREDIT


cdef inline void workers_share(workers_t *w, int64_t n_ready) noexcept nogil:
    """Limit the jobs that a worker may hold to half of its share of those that are ready.

    With many workers their credit can be much work. So each gets fewer jobs towards the end of a
    run, and all workers end at about the same time. A job in advance hides the time until main
    sends the next one, which matters for short jobs only.
    """
    cdef int64_t least = 1 if w.run_ns > w.ahead_ns // 8 else 2
    w.most_each = <int32_t>min(least + n_ready // (2 * <int64_t>w.n), MAX_CREDIT)


cdef inline double ns_per_kib(const workers_t *w) noexcept nogil:
    """Return how much run time a KiB of arguments counts."""
    return w.ahead_ns / <double>MOST_KIB_AHEAD


cdef inline double credit_for(const workers_t *w, double run_ns) noexcept nogil:
    """Return how many jobs of a run time a worker may hold."""
    if run_ns >= 2 * w.ahead_ns or w.one_each:
        return 1
    return 2 + w.ahead_ns / (run_ns + 500)


cdef inline int32_t workers_next(workers_t *w) noexcept nogil:
    """Remove a worker with credit left from its list; return it or NO_WORKER."""
    cdef ints_t *source = &w.idle if w.idle.size else &w.spare
    cdef int32_t number
    if source.size == 0:
        return NO_WORKER
    number = source.data[source.size - 1]
    if w.one_each and w.idle.size:
        number = w.idle.data[0]  # it was idle for longest
    workers_unlist(w, number)
    return number


cdef inline void workers_set_one_each(workers_t *w, bint one_each) noexcept nogil:
    """Set whether each worker has one job at a time, instead of as many as its credit allows."""
    cdef int32_t number
    w.one_each = one_each
    for number in range(w.n):
        w.slots[number].credit = FIRST_CREDIT
        workers_list(w, number)
    if one_each:
        for number in range(<int32_t>w.idle.size // 2 - 1, -1, -1):
            idle_sink(w, number)


cdef inline void idle_rise(workers_t *w, int32_t i) noexcept nogil:
    """Move an idle worker towards index 0, before those that were idle for a shorter time."""
    cdef int32_t above = (i - 1) // 2
    while i > 0 and idle_precedes(w, i, above):
        idle_swap(w, i, above)
        i = above
        above = (i - 1) // 2


cdef inline void idle_sink(workers_t *w, int32_t i) noexcept nogil:
    """Move an idle worker away from index 0, behind those that were idle for a longer time."""
    cdef int32_t below = 2 * i + 1
    while below < w.idle.size:
        if below + 1 < w.idle.size and idle_precedes(w, below + 1, below):
            below += 1
        if not idle_precedes(w, below, i):
            return
        idle_swap(w, below, i)
        i = below
        below = 2 * i + 1


cdef inline bint idle_precedes(workers_t *w, int32_t i, int32_t j) noexcept nogil:
    return w.slots[w.idle.data[i]].last_used < w.slots[w.idle.data[j]].last_used


cdef inline void idle_swap(workers_t *w, int32_t i, int32_t j) noexcept nogil:
    cdef int32_t first = w.idle.data[i]
    w.idle.data[i] = w.idle.data[j]
    w.idle.data[j] = first
    w.slots[first].list_index = j
    w.slots[w.idle.data[i]].list_index = i


cdef inline void workers_unlist(workers_t *w, int32_t number) noexcept nogil:
    """Remove a worker from the list that it is in, if any."""
    cdef worker_t *slot = &w.slots[number]
    cdef ints_t *source = &w.idle if slot.list == IN_IDLE else &w.spare
    cdef int32_t last
    if slot.list == NOT_LISTED:
        return
    slot.list = NOT_LISTED
    source.size -= 1
    last = source.data[source.size]
    source.data[slot.list_index] = last
    w.slots[last].list_index = slot.list_index
    if w.one_each and source == &w.idle and slot.list_index < w.idle.size:
        idle_rise(w, slot.list_index)
        idle_sink(w, w.slots[last].list_index)


cdef inline void workers_list(workers_t *w, int32_t number) noexcept nogil:
    """Move a worker to the list that its queue, credit and availability require."""
    cdef worker_t *slot = &w.slots[number]
    cdef uint8_t wanted = IN_SPARE if slot.in_flight else IN_IDLE
    cdef ints_t *target = &w.spare if slot.in_flight else &w.idle
    if not slot.available or slot.in_flight >= min(slot.credit, w.most_each):
        wanted = NOT_LISTED
    if wanted == slot.list:
        return
    workers_unlist(w, number)
    if wanted == NOT_LISTED:
        return
    slot.list = wanted
    slot.list_index = <int32_t>target.size
    target.data[target.size] = number
    target.size += 1
    if w.one_each and wanted == IN_IDLE:
        idle_rise(w, slot.list_index)


cdef inline void workers_set_available(workers_t *w, int32_t number, bint available) noexcept nogil:
    """Set whether a worker may get jobs."""
    w.slots[number].available = w.slots[number].available or w.slots[number].reserved
    w.slots[number].reserved = False
    w.n_unavailable += w.slots[number].available - available
    w.slots[number].available = available
    workers_list(w, number)


cdef inline void workers_lose(workers_t *w, int32_t number) noexcept nogil:
    """Set that a worker has died."""
    w.n_lost += not w.slots[number].lost
    w.slots[number].lost = True
    workers_set_available(w, number, False)


cdef inline void workers_reserve(workers_t *w, int32_t number) noexcept nogil:
    """Reserve an available worker: it gets no jobs, and does not count as unavailable."""
    w.slots[number].available = False
    w.slots[number].reserved = True
    workers_list(w, number)


cdef inline void workers_release(workers_t *w, int32_t number) noexcept nogil:
    """Let a worker get jobs again, if it is still reserved."""
    if w.slots[number].reserved:
        w.slots[number].reserved = False
        w.slots[number].available = True
        workers_list(w, number)


cdef inline void workers_measure(workers_t *w, int32_t number, double run_ns) noexcept nogil:
    """Adjust the credit of a worker to the run time of its last job."""
    cdef worker_t *slot = &w.slots[number]
    cdef double wanted
    if slot.run_ns < 0:
        slot.run_ns = run_ns
    elif run_ns > slot.run_ns:
        slot.run_ns += (run_ns - slot.run_ns) * 0.5  # react quickly to long jobs
    else:
        slot.run_ns += (run_ns - slot.run_ns) * 0.125
    wanted = credit_for(w, slot.run_ns)
    if w.hold_ns:
        w.run_ns += (run_ns - w.run_ns) / min(w.n_measured + 1, MANY_MEASURED)
        w.n_measured += 1
        wanted = min(wanted, credit_for(w, w.run_ns))
    # At most double the credit, so that one short job does not let hundreds follow. But if many
    # workers have run jobs, all need as few messages as possible from their second job on.
    if w.n_measured < MANY_MEASURED and wanted > 2 * slot.credit:
        wanted = 2 * slot.credit
    slot.credit = <int32_t>wanted if wanted < MAX_CREDIT else MAX_CREDIT


cdef inline void workers_restore(workers_t *w, int32_t number) noexcept nogil:
    """Set the credit of a worker as of its last jobs, after it was set to 1."""
    cdef worker_t *slot = &w.slots[number]
    cdef double wanted = FIRST_CREDIT
    if slot.run_ns >= 0:
        wanted = credit_for(w, slot.run_ns)
    slot.credit = <int32_t>wanted if wanted < MAX_CREDIT else MAX_CREDIT
