"""The tables alone against the least that anybody could do: for `benches`.

Both are told of the same jobs in one thread and without Python: job i waits for some of
the WIDTH jobs before it. The bare loop keeps what it is told, turns it round into a list
of dependents for each job, and counts down to zero. The core takes the same dependencies
and a cache item, and does all that it does.
"""
from bsbpool._core.scheduling.cache_refs cimport cache_item, cache_set
from bsbpool._core.scheduling.dispatcher cimport (
    dispatcher_finish,
    dispatcher_free,
    dispatcher_init,
    dispatcher_start,
    dispatcher_submit,
    dispatcher_t,
    dispatcher_take,
    job_t,
)
from bsbpool._core.scheduling.graph cimport edge_t, vertex_t
from bsbpool._core.comm.backoff cimport now_ns
from bsbpool._core.scheduling.status cimport SUCCESS
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

cdef enum:
    WIDTH = 1000
    MOST_DEPS = 16

ctypedef struct bare_t:
    int32_t *unmet
    int32_t *starts  # of each job's part of `waiters`
    int32_t *deps
    int32_t *waiters
    int32_t *ready


cdef inline int32_t dependency(int32_t job, int k) noexcept nogil:
    """Return the k-th job that a job waits for; -1 for none."""
    cdef uint32_t mixed = (<uint32_t>job * 2654435761U) >> (3 * k)
    cdef int32_t found = job - 1 - <int32_t>(mixed % WIDTH)
    return found if found >= 0 else -1


def run_bare(int32_t n, int deps=3):
    """Return the seconds that `n` jobs take in a bare C loop."""
    cdef bare_t b
    cdef int64_t began
    cdef int64_t edges = <int64_t>n * deps
    check(n, deps)
    b.unmet = <int32_t *>calloc(n, 4)
    b.starts = <int32_t *>calloc(n + 2, 4)
    b.deps = <int32_t *>malloc(edges * 4 + 4)
    b.waiters = <int32_t *>malloc(edges * 4 + 4)
    b.ready = <int32_t *>malloc(<size_t>n * 4)
    try:
        if not (b.unmet and b.starts and b.deps and b.waiters and b.ready):
            raise MemoryError()
        with nogil:
            began = now_ns()
            done = baseline(&b, n, deps)
            began = now_ns() - began
        if done != n:
            raise RuntimeError(f"{done} of {n} jobs ran")
        return began * 1e-9
    finally:
        free(b.unmet)
        free(b.starts)
        free(b.deps)
        free(b.waiters)
        free(b.ready)


cdef int32_t baseline(bare_t *b, int32_t n, int deps) noexcept nogil:
    cdef int32_t i
    cdef int32_t job
    cdef int32_t before
    cdef int32_t head = 0
    cdef int32_t tail = 0
    cdef int k
    for i in range(n):
        for k in range(deps):
            before = dependency(i, k)
            b.deps[<int64_t>i * deps + k] = before
            if before >= 0:
                b.unmet[i] += 1
                b.starts[before + 2] += 1
    for i in range(n):
        b.starts[i + 2] += b.starts[i + 1]
        if b.unmet[i] == 0:
            b.ready[tail] = i
            tail += 1
    for i in range(n):
        for k in range(deps):
            before = b.deps[<int64_t>i * deps + k]
            if before >= 0:
                b.waiters[b.starts[before + 1]] = i
                b.starts[before + 1] += 1
    while head < tail:
        job = b.ready[head]
        head += 1
        for i in range(b.starts[job], b.starts[job + 1]):
            b.unmet[b.waiters[i]] -= 1
            if b.unmet[b.waiters[i]] == 0:
                b.ready[tail] = b.waiters[i]
                tail += 1
    return head


def run_core(int32_t n, int deps=3, int cache_items=1):
    """Return the seconds that `n` jobs take in the core's tables."""
    cdef dispatcher_t d
    cdef int64_t began
    cdef int32_t done
    check(n, deps)
    dispatcher_init(&d)
    try:
        items = set_of(&d, cache_items)
        with nogil:
            began = now_ns()
            done = submit_all(&d, n, deps, items)
            if done == n:
                done = run_all(&d)
            began = now_ns() - began
        if done != n or d.unfinished:
            raise RuntimeError(f"{done} of {n} jobs ran")
        return began * 1e-9
    finally:
        dispatcher_free(&d)


def core_bytes(int32_t n, int deps=3):
    """Return what `n` queued jobs take in the core's tables.

    Returns
    -------
    jobs, edges : int
        Bytes in use for jobs and for edges; arrays that grow may hold up to twice of it.
    """
    cdef dispatcher_t d
    check(n, deps)
    dispatcher_init(&d)
    try:
        if submit_all(&d, n, deps, -1) != n:
            raise MemoryError()
        words = sum(d.ready.levels[k].n_words for k in range(6))
        jobs = d.job_capacity * sizeof(job_t) + d.graph.vertex_capacity * sizeof(vertex_t)
        return jobs + 8 * words, d.graph.edge_capacity * sizeof(edge_t)
    finally:
        dispatcher_free(&d)


cdef int check(int32_t n, int deps) except -1:
    if n < 1 or not 0 <= deps <= MOST_DEPS:
        raise ValueError(f"n: at least one job; deps: at most {MOST_DEPS}")
    return 0


cdef int32_t set_of(dispatcher_t *d, int cache_items) except -2:
    cdef int32_t[MOST_DEPS] items
    cdef int i
    if not 0 <= cache_items <= MOST_DEPS:
        raise ValueError(f"cache_items: at most {MOST_DEPS}")
    for i in range(cache_items):
        items[i] = cache_item(&d.cache, i)
    return cache_set(&d.cache, items, cache_items) if cache_items else -1


cdef int32_t submit_all(dispatcher_t *d, int32_t n, int deps, int32_t items) noexcept nogil:
    cdef int32_t[MOST_DEPS] before
    cdef int32_t i
    cdef int k
    cdef int known
    for i in range(n):
        known = 0
        for k in range(deps):
            before[known] = dependency(i, k)
            if before[known] >= 0:
                known += 1
        if dispatcher_submit(d, before, known, -1, items, 0) < 0:
            return i
    return n


cdef int32_t run_all(dispatcher_t *d) noexcept nogil:
    cdef int32_t job
    cdef int32_t done = 0
    dispatcher_start(d)
    while True:
        job = dispatcher_take(d)
        if job < 0:
            return done
        if dispatcher_finish(d, job, SUCCESS) < 0:
            return done
        done += 1
