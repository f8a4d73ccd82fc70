"""Who can take a job: a slot and a credit for each worker.

Credit is how many jobs a worker may hold, the running one included. Sending
ahead hides the round trip, but a job that was sent ahead is stuck behind the
one that runs, so the credit follows the run times seen: about AHEAD_NS of work,
which is many microsecond jobs and never two long ones. The first job of a
worker, of which nothing is known, comes alone.

Idle workers are served before busy ones, so work spreads before it piles up.
Both lists are arrays taken from the back; a worker stands in at most one.
"""
from bsbpool._core.vector cimport grow, ints_free
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef enum:
    FIRST_CREDIT = 1
    AHEAD_NS = 1_000_000
    LONG_NS = 2_000_000  # of jobs this long none is sent ahead


cdef void workers_init(workers_t *w) noexcept nogil:
    memset(w, 0, sizeof(workers_t))


cdef void workers_free(workers_t *w) noexcept nogil:
    free(w.slots)
    ints_free(&w.idle)
    ints_free(&w.spare)
    workers_init(w)


cdef int workers_open(workers_t *w, int32_t n) noexcept nogil:
    """Make `n` idle workers. The lists get their full size now: they never fail later."""
    cdef int32_t i
    w.slots = <worker_t *>calloc(n, sizeof(worker_t))
    if w.slots == NULL:
        return WORKERS_NO_MEMORY
    if grow(<void **>&w.idle.data, &w.idle.capacity, n, 4) < 0:
        return WORKERS_NO_MEMORY
    if grow(<void **>&w.spare.data, &w.spare.capacity, n, 4) < 0:
        return WORKERS_NO_MEMORY
    w.n = n
    for i in range(n - 1, -1, -1):  # the first worker is taken first
        w.slots[i].first = w.slots[i].last = -1
        w.slots[i].credit = FIRST_CREDIT
        w.slots[i].run_ns = -1
        w.slots[i].alive = True
        workers_list(w, i)
    return 0


cdef int32_t workers_next(workers_t *w) noexcept nogil:
    """Take a worker with credit to spare off the lists; NO_WORKER when none has."""
    cdef ints_t *source = &w.idle if w.idle.size else &w.spare
    cdef int32_t number
    if source.size == 0:
        return NO_WORKER
    number = source.data[source.size - 1]
    workers_unlist(w, number)
    return number


cdef void workers_unlist(workers_t *w, int32_t number) noexcept nogil:
    cdef worker_t *slot = &w.slots[number]
    cdef ints_t *source = &w.idle if slot.listed == OF_IDLE else &w.spare
    cdef int32_t last
    if slot.listed == OF_NONE:
        return
    slot.listed = OF_NONE
    source.size -= 1
    last = source.data[source.size]
    source.data[slot.place] = last
    w.slots[last].place = slot.place


cdef void workers_list(workers_t *w, int32_t number) noexcept nogil:
    """Put a worker on the list that its load and credit call for."""
    cdef worker_t *slot = &w.slots[number]
    cdef uint8_t wanted = OF_SPARE if slot.in_flight else OF_IDLE
    cdef ints_t *target = &w.spare if slot.in_flight else &w.idle
    if not slot.alive or slot.in_flight >= slot.credit:
        wanted = OF_NONE
    if wanted == slot.listed:
        return
    workers_unlist(w, number)
    if wanted == OF_NONE:
        return
    slot.listed = wanted
    slot.place = <int32_t>target.size
    target.data[target.size] = number
    target.size += 1


cdef void workers_measure(workers_t *w, int32_t number, double run_ns) noexcept nogil:
    """Follow a worker's run times with its credit."""
    cdef worker_t *slot = &w.slots[number]
    cdef double wanted
    if slot.run_ns < 0:
        slot.run_ns = run_ns
    elif run_ns > slot.run_ns:
        slot.run_ns += (run_ns - slot.run_ns) * 0.5  # long jobs are believed quickly
    else:
        slot.run_ns += (run_ns - slot.run_ns) * 0.125
    if slot.run_ns >= LONG_NS:
        slot.credit = 1
        return
    wanted = 2 + AHEAD_NS / (slot.run_ns + 500)
    # Doubling at most: one lucky job must not draw hundreds behind it.
    if wanted > 2 * slot.credit:
        wanted = 2 * slot.credit
    slot.credit = <int32_t>wanted if wanted < MAX_CREDIT else MAX_CREDIT
