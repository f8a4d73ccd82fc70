"""A minimal bare C loop, to compare the cost of the tables with. For `benches`.

Both get the same jobs in one thread and without Python: job i depends on some of the WIDTH jobs
before it. The bare loop stores the dependencies, inverts them into a list of dependents for each
job, and counts down to zero. The core gets the same dependencies and a cache item.
"""
from bsbpool._core.comm.backoff cimport now_ns
from bsbpool._core.scheduling.cache_refs cimport cache_add_item, cache_add_set
from bsbpool._core.scheduling.dispatcher cimport (
    dispatcher_finish,
    dispatcher_start_run,
    dispatcher_submit,
    dispatcher_start_next,
)
from bsbpool._core.scheduling.dispatcher_tables cimport (
    dispatcher_free,
    dispatcher_init,
    dispatcher_t,
    job_t,
)
from bsbpool._core.scheduling.graph cimport edge_t, vertex_t
from bsbpool._core.scheduling.status cimport SUCCESS
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

cdef enum:
    WIDTH = 1000
    MAX_DEPS = 16

ctypedef struct bare_t:
    int32_t *unmet
    int32_t *starts  # where the dependents of each job begin in `dependents`
    int32_t *deps
    int32_t *dependents
    int32_t *ready


cdef inline int32_t dependency(int32_t job, int k) noexcept nogil:
    """Return the k-th dependency of a job, or -1."""
    cdef uint32_t mixed = (<uint32_t>job * 2654435761U) >> (3 * k)
    cdef int32_t found = job - 1 - <int32_t>(mixed % WIDTH)
    return found if found >= 0 else -1


def run_bare(int32_t n, int deps=3):
    """Return the time in seconds that `n` jobs take in the bare C loop."""
    cdef bare_t b
    cdef int64_t began
    cdef int64_t edges = <int64_t>n * deps
    check(n, deps)
    b.unmet = <int32_t *>calloc(n, 4)
    b.starts = <int32_t *>calloc(n + 2, 4)
    b.deps = <int32_t *>malloc(edges * 4 + 4)
    b.dependents = <int32_t *>malloc(edges * 4 + 4)
    b.ready = <int32_t *>malloc(<size_t>n * 4)
    try:
        if not (b.unmet and b.starts and b.deps and b.dependents and b.ready):
            raise MemoryError()
        with nogil:
            began = now_ns()
            done = count_down(&b, n, deps)
            began = now_ns() - began
        if done != n:
            raise RuntimeError(f"{done} of {n} jobs ran")
        return began * 1e-9
    finally:
        free(b.unmet)
        free(b.starts)
        free(b.deps)
        free(b.dependents)
        free(b.ready)


cdef int32_t count_down(bare_t *b, int32_t n, int deps) noexcept nogil:
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
                b.dependents[b.starts[before + 1]] = i
                b.starts[before + 1] += 1
    while head < tail:
        job = b.ready[head]
        head += 1
        for i in range(b.starts[job], b.starts[job + 1]):
            b.unmet[b.dependents[i]] -= 1
            if b.unmet[b.dependents[i]] == 0:
                b.ready[tail] = b.dependents[i]
                tail += 1
    return head


def run_core(int32_t n, int deps=3, int cache_items=1):
    """Return the time in seconds that `n` jobs take in the tables of the core."""
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
    """Return the memory that `n` queued jobs take in the tables of the core.

    Returns
    -------
    jobs, edges : int
        Bytes allocated for jobs and for edges.
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
    if n < 1 or not 0 <= deps <= MAX_DEPS:
        raise ValueError(f"n must be at least 1 and deps 0 to {MAX_DEPS}, got {n} and {deps}")
    return 0


cdef int32_t set_of(dispatcher_t *d, int cache_items) except -2:
    cdef int32_t[MAX_DEPS] items
    cdef int i
    if not 0 <= cache_items <= MAX_DEPS:
        raise ValueError(f"cache_items must be 0 to {MAX_DEPS}, got {cache_items}")
    for i in range(cache_items):
        items[i] = cache_add_item(&d.cache, i)
    return cache_add_set(&d.cache, items, cache_items) if cache_items else -1


cdef int32_t submit_all(dispatcher_t *d, int32_t n, int deps, int32_t items) noexcept nogil:
    cdef int32_t[MAX_DEPS] before
    cdef int32_t i
    cdef int k
    cdef int n_before
    for i in range(n):
        n_before = 0
        for k in range(deps):
            before[n_before] = dependency(i, k)
            if before[n_before] >= 0:
                n_before += 1
        if dispatcher_submit(d, before, n_before, NULL, 0, items, 0, NULL) < 0:
            return i
    return n


cdef int32_t run_all(dispatcher_t *d) noexcept nogil:
    cdef int32_t job
    cdef int32_t done = 0
    dispatcher_start_run(d)
    while True:
        job = dispatcher_start_next(d)
        if job < 0:
            return done
        if dispatcher_finish(d, job, SUCCESS) < 0:
            return done
        done += 1
