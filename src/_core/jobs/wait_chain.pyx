"""Which job waits for which, for the error message of a deadlock.

The edges of the graph lead from a job to its dependents, since these are needed when a job ends.
The opposite direction is needed at most once in the life of a pool, so it is found by visiting all
edges.
"""
from bsbpool._core.scheduling.dispatcher_tables cimport dispatcher_t
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.graph cimport graph_t
from bsbpool._core.scheduling.status cimport PENDING, status_is_terminal
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

cdef enum:
    NO_JOB = -1
    SEEN = -2


def wait_chain(Engine engine not None):
    """Return a chain of jobs in which each job waits for the next one.

    Parameters
    ----------
    engine : Engine
        The tables of the pool.

    Returns
    -------
    list of int
        The chain that begins with the oldest PENDING job. The last job waits for no other; or, if
        jobs depend on each other in a cycle, it is in the list twice. Empty if all jobs have ended.
    """
    cdef ints_t chain = ints_t(NULL, 0, 0)
    cdef int code
    code = find_chain(&engine.d, &chain)
    try:
        if code < 0:
            raise MemoryError()
        return [chain.data[i] for i in range(chain.size)]
    finally:
        ints_free(&chain)


cdef int find_chain(dispatcher_t *d, ints_t *chain) noexcept nogil:
    cdef int32_t *waits_for = no_jobs(d.n_jobs)
    cdef int32_t *join_waits_for = no_jobs(d.graph.n_joins)
    cdef int code = -1
    if waits_for != NULL and join_waits_for != NULL:
        invert_edges(d, waits_for, join_waits_for)
        code = follow_chain(waits_for, first_waiting(d), chain)
    free(waits_for)
    free(join_waits_for)
    return code


cdef int32_t *no_jobs(int64_t n) noexcept nogil:
    cdef int32_t *made = <int32_t *>malloc((n + 1) * sizeof(int32_t))
    cdef int64_t i
    if made != NULL:
        for i in range(n):
            made[i] = NO_JOB
    return made


cdef void invert_edges(dispatcher_t *d, int32_t *waits_for, int32_t *join_waits_for) noexcept nogil:
    """Find the oldest unfinished job that each job and each join waits for."""
    cdef graph_t *g = &d.graph
    cdef int32_t i
    for i in range(<int32_t>d.n_jobs):
        if not status_is_terminal(d.jobs[i].status):
            visit_dependents(g, g.vertices[i].head, i, waits_for, join_waits_for)
    for i in range(<int32_t>g.n_joins):
        if join_waits_for[i] != NO_JOB:
            visit_dependents(g, g.joins[i].head, join_waits_for[i], waits_for, join_waits_for)


cdef void visit_dependents(
    graph_t *g, int32_t edge, int32_t job, int32_t *waits_for, int32_t *join_waits_for
) noexcept nogil:
    cdef int32_t target
    while edge >= 0:
        target = g.edges[edge].target
        edge = g.edges[edge].next
        if target >= 0:
            if waits_for[target] == NO_JOB:
                waits_for[target] = job
        elif join_waits_for[-1 - target] == NO_JOB:
            join_waits_for[-1 - target] = job


cdef int32_t first_waiting(dispatcher_t *d) noexcept nogil:
    """Return the oldest PENDING job, else the oldest unfinished one, else NO_JOB."""
    cdef int32_t found = NO_JOB
    cdef int32_t i
    for i in range(<int32_t>d.n_jobs):
        if d.jobs[i].status == PENDING:
            return i
        if found == NO_JOB and not status_is_terminal(d.jobs[i].status):
            found = i
    return found


cdef int follow_chain(int32_t *waits_for, int32_t job, ints_t *chain) noexcept nogil:
    """Append jobs to the chain until the last one waits for no job, or repeats."""
    cdef int32_t following
    while job >= 0:
        if ints_push(chain, job) < 0:
            return -1
        following = waits_for[job]
        waits_for[job] = SEEN
        job = following  # SEEN if the job just pushed closes a cycle
    return 0
