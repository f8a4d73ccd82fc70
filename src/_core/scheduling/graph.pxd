# The graph of dependencies.
#
# Each job is a vertex, with the number of its unmet dependencies and a linked list of its
# dependents. Jobs that share a set of dependencies depend on one *join* instead, which depends on
# the members: P dependencies and C dependents cost P + C edges instead of P * C. An edge takes 8
# bytes of one array and is reused after its job is settled.
#
# The mode of a join tells when it is met, and when it has failed, so that its dependents cannot
# run: ALL, the mode of single dependencies, is met when all members have succeeded. ANY is met at
# the first success, FAILURE at the first failure, ENDED when all members have ended in any way. A
# join that is settled stays so, even if some of its members have not ended.
#
# Edges lead from older to younger jobs only (`graph_depend` refuses others), so there are no
# cycles.
from bsbpool._core.vector cimport grow, ints_free, ints_push, ints_t
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef enum join_mode:
    JOIN_ALL = 0
    JOIN_ANY = 1
    JOIN_ENDED = 2
    JOIN_FAILURE = 3
    N_JOIN_MODES = 4

cdef enum ending_t:  # how a job has ended, as far as its dependents are concerned
    END_SUCCESS = 0
    END_FAILURE = 1  # it failed, or was aborted
    END_CANCELLED = 2

cdef enum join_state:
    JOIN_OPEN = 0
    JOIN_MET = 1
    JOIN_FAILED = 2

cdef enum:
    GRAPH_NO_MEMORY = -1
    GRAPH_UNKNOWN = -2

ctypedef struct edge_t:
    int32_t target  # a job, or -1 - join
    int32_t next  # the next edge of the list, or NONE

ctypedef struct vertex_t:
    int32_t unmet
    int32_t head

ctypedef struct join_t:
    int32_t unmet
    int32_t head
    uint8_t state
    uint8_t mode

ctypedef struct graph_t:
    vertex_t *vertices
    int64_t n_vertices
    int64_t vertex_capacity
    join_t *joins
    int64_t n_joins
    int64_t join_capacity
    edge_t *edges
    int64_t n_edges
    int64_t edge_capacity
    int32_t free_edge  # the list of edges to reuse
    int64_t live_edges
    # The effects of `graph_settle`, until the caller empties these:
    ints_t met  # jobs whose last unmet dependency was met
    ints_t failed  # jobs that cannot run any more, some of them possibly more than once

cdef enum:
    NONE = -1  # the end of a list of edges


cdef inline void graph_init(graph_t *g) noexcept nogil:
    memset(g, 0, sizeof(graph_t))
    g.free_edge = NONE


cdef inline void graph_free(graph_t *g) noexcept nogil:
    free(g.vertices)
    free(g.joins)
    free(g.edges)
    ints_free(&g.met)
    ints_free(&g.failed)
    graph_init(g)


cdef inline int32_t graph_add_job(graph_t *g) noexcept nogil:
    """Add a job without dependencies; return its id, the number of jobs before."""
    if g.n_vertices == INT32_MAX:
        return GRAPH_NO_MEMORY
    if grow(<void **>&g.vertices, &g.vertex_capacity, g.n_vertices + 1, sizeof(vertex_t)) < 0:
        return GRAPH_NO_MEMORY
    g.vertices[g.n_vertices].unmet = 0
    g.vertices[g.n_vertices].head = NONE
    g.n_vertices += 1
    return <int32_t>(g.n_vertices - 1)


cdef inline int graph_depend(graph_t *g, int32_t job, int32_t dependency) noexcept nogil:
    """Make `job` depend on `dependency`, which must be older."""
    if job >= g.n_vertices or not 0 <= dependency < job:
        return GRAPH_UNKNOWN
    if add_edge(g, &g.vertices[dependency].head, job) < 0:
        return GRAPH_NO_MEMORY
    g.vertices[job].unmet += 1
    return 0


cdef inline int32_t graph_add_join(graph_t *g, uint8_t mode) noexcept nogil:
    """Add a join without members; return its number."""
    cdef join_t *join
    if grow(<void **>&g.joins, &g.join_capacity, g.n_joins + 1, sizeof(join_t)) < 0:
        return GRAPH_NO_MEMORY
    join = &g.joins[g.n_joins]
    join.unmet = 0
    join.head = NONE
    join.state = JOIN_OPEN
    join.mode = mode
    g.n_joins += 1
    return <int32_t>(g.n_joins - 1)


cdef inline int graph_join_member(graph_t *g, int32_t join, int32_t job) noexcept nogil:
    """Make `join` depend on `job`. The join must have no dependents yet."""
    if not 0 <= join < g.n_joins or not 0 <= job < g.n_vertices:
        return GRAPH_UNKNOWN
    if add_edge(g, &g.vertices[job].head, -1 - join) < 0:
        return GRAPH_NO_MEMORY
    g.joins[join].unmet += 1
    return 0


cdef inline int graph_depend_join(graph_t *g, int32_t job, int32_t join) noexcept nogil:
    """Make `job` depend on `join`, which must be open."""
    if not 0 <= join < g.n_joins or not 0 <= job < g.n_vertices:
        return GRAPH_UNKNOWN
    if add_edge(g, &g.joins[join].head, job) < 0:
        return GRAPH_NO_MEMORY
    g.vertices[job].unmet += 1
    return 0


cdef inline uint8_t join_state_after(join_t *join, ending_t ending) noexcept nogil:
    """Return the state of an open join after a member has ended, which `unmet` counts no more."""
    if join.mode == JOIN_ALL:
        if ending != END_SUCCESS:
            return JOIN_FAILED
        return JOIN_OPEN if join.unmet else JOIN_MET
    if join.mode == JOIN_ENDED:
        return JOIN_OPEN if join.unmet else JOIN_MET
    if ending == (END_SUCCESS if join.mode == JOIN_ANY else END_FAILURE):
        return JOIN_MET
    return JOIN_OPEN if join.unmet else JOIN_FAILED


cdef inline void graph_join_ended_member(graph_t *g, int32_t join, ending_t ending) noexcept nogil:
    """Add a member that has ended before to a join without dependents."""
    if g.joins[join].state == JOIN_OPEN:
        g.joins[join].unmet += 1  # so that the join stays open while more members may follow
        g.joins[join].state = join_state_after(&g.joins[join], ending)
        g.joins[join].unmet -= 1


cdef inline void graph_close_join(graph_t *g, int32_t join) noexcept nogil:
    """All members of a join were added: settle it if none of them can change its state."""
    if g.joins[join].state == JOIN_OPEN and g.joins[join].unmet == 0:
        if g.joins[join].mode == JOIN_ALL or g.joins[join].mode == JOIN_ENDED:
            g.joins[join].state = JOIN_MET
        else:
            g.joins[join].state = JOIN_FAILED


cdef inline int graph_settle(graph_t *g, int32_t job, ending_t ending) noexcept nogil:
    """Update the dependents of a job that has ended; append the effects to `met` and `failed`.

    A job may be in both: one of its joins has failed, and the last one of the others was met.
    """
    cdef int32_t edge = g.vertices[job].head
    cdef int32_t target
    g.vertices[job].head = NONE
    while edge != NONE:
        target = g.edges[edge].target
        edge = drop_edge(g, edge)
        if target >= 0:
            if settle_target(g, target, ending == END_SUCCESS) < 0:
                return GRAPH_NO_MEMORY
        elif settle_join(g, -1 - target, ending) < 0:
            return GRAPH_NO_MEMORY
    return 0


cdef inline int settle_join(graph_t *g, int32_t number, ending_t ending) noexcept nogil:
    cdef join_t *join = &g.joins[number]
    cdef int32_t edge
    cdef int32_t target
    join.unmet -= 1
    if join.state != JOIN_OPEN:
        return 0
    join.state = join_state_after(join, ending)
    if join.state == JOIN_OPEN:
        return 0
    edge = join.head
    join.head = NONE
    while edge != NONE:
        target = g.edges[edge].target
        edge = drop_edge(g, edge)
        if settle_target(g, target, join.state == JOIN_MET) < 0:
            return GRAPH_NO_MEMORY
    return 0


cdef inline int settle_target(graph_t *g, int32_t job, bint met) noexcept nogil:
    g.vertices[job].unmet -= 1
    if not met:
        return ints_push(&g.failed, job)
    if g.vertices[job].unmet == 0:
        return ints_push(&g.met, job)
    return 0


cdef inline int add_edge(graph_t *g, int32_t *head, int32_t target) noexcept nogil:
    cdef int32_t edge = g.free_edge
    if edge != NONE:
        g.free_edge = g.edges[edge].next
    else:
        if g.n_edges == INT32_MAX:
            return GRAPH_NO_MEMORY
        if grow(<void **>&g.edges, &g.edge_capacity, g.n_edges + 1, sizeof(edge_t)) < 0:
            return GRAPH_NO_MEMORY
        edge = <int32_t>g.n_edges
        g.n_edges += 1
    g.edges[edge].target = target
    g.edges[edge].next = head[0]
    head[0] = edge
    g.live_edges += 1
    return 0


cdef inline int32_t drop_edge(graph_t *g, int32_t edge) noexcept nogil:
    """Free an edge; return the next one of its list."""
    cdef int32_t following = g.edges[edge].next
    g.edges[edge].next = g.free_edge
    g.free_edge = edge
    g.live_edges -= 1
    return following
