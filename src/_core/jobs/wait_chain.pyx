"""Whom a job waits for: a question for when nothing can run any more.

Edges lead from a job to those that wait for it (see `graph`), as the end of a job has to find
these. The other way is only asked for once in the life of a pool, by the message of a
deadlock, so it is found by looking at all the edges.
"""
from bsbpool._core.scheduling.dispatcher cimport dispatcher_t
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.graph cimport graph_t
from bsbpool._core.scheduling.status cimport PENDING, status_is_terminal
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

cdef enum:
    NOBODY = -1
    SEEN = -2


def wait_chain(Engine engine not None):
    """Follow the oldest job that waits down to the one that keeps all of them waiting.

    Parameters
    ----------
    engine : Engine
        The pool's tables.

    Returns
    -------
    list of int
        Jobs, each of which waits for the next. The last one waits for none, or, where jobs
        wait for each other in a circle, stands in the list twice. Empty when all have ended.
    """
    cdef ints_t chain = ints_t(NULL, 0, 0)
    cdef int code
    engine.lock()
    code = follow(&engine.d, &chain)
    engine.unlock()
    try:
        if code < 0:
            raise MemoryError()
        return [chain.data[i] for i in range(chain.size)]
    finally:
        ints_free(&chain)


cdef int follow(dispatcher_t *d, ints_t *chain) noexcept nogil:
    cdef int32_t *waits = nobodies(d.n_jobs)
    cdef int32_t *members = nobodies(d.graph.n_joins)
    cdef int code = -1
    if waits != NULL and members != NULL:
        turn_round(d, waits, members)
        code = walk(waits, first_waiting(d), chain)
    free(waits)
    free(members)
    return code


cdef int32_t *nobodies(int64_t n) noexcept nogil:
    cdef int32_t *made = <int32_t *>malloc((n + 1) * sizeof(int32_t))
    cdef int64_t i
    if made != NULL:
        for i in range(n):
            made[i] = NOBODY
    return made


cdef void turn_round(dispatcher_t *d, int32_t *waits, int32_t *members) noexcept nogil:
    """Write down the first unfinished job that each job, and each join, waits for."""
    cdef graph_t *g = &d.graph
    cdef int32_t i
    for i in range(<int32_t>d.n_jobs):
        if not status_is_terminal(d.jobs[i].status):
            note(g, g.vertices[i].head, i, waits, members)
    for i in range(<int32_t>g.n_joins):
        if members[i] != NOBODY:
            note(g, g.joins[i].head, members[i], waits, members)


cdef void note(
    graph_t *g, int32_t edge, int32_t job, int32_t *waits, int32_t *members
) noexcept nogil:
    cdef int32_t target
    while edge >= 0:
        target = g.edges[edge].target
        edge = g.edges[edge].next
        if target >= 0:
            if waits[target] == NOBODY:
                waits[target] = job
        elif members[-1 - target] == NOBODY:
            members[-1 - target] = job


cdef int32_t first_waiting(dispatcher_t *d) noexcept nogil:
    """Return the oldest PENDING job, else the oldest that has not ended, else NOBODY."""
    cdef int32_t found = NOBODY
    cdef int32_t i
    for i in range(<int32_t>d.n_jobs):
        if d.jobs[i].status == PENDING:
            return i
        if found == NOBODY and not status_is_terminal(d.jobs[i].status):
            found = i
    return found


cdef int walk(int32_t *waits, int32_t job, ints_t *chain) noexcept nogil:
    """Go from job to job until there is none, or one comes again."""
    cdef int32_t following
    while job >= 0:
        if ints_push(chain, job) < 0:
            return -1
        following = waits[job]
        waits[job] = SEEN
        job = following  # SEEN where the one just pushed closes a circle
    return 0
