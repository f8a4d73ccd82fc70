from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum join_state:
    JOIN_OPEN = 0
    JOIN_MET = 1
    JOIN_BROKEN = 2

cdef enum:
    GRAPH_NO_MEMORY = -1
    GRAPH_UNKNOWN = -2

ctypedef struct edge_t:
    int32_t target  # a job, or -1 - join
    int32_t next

ctypedef struct vertex_t:
    int32_t unmet
    int32_t head

ctypedef struct join_t:
    int32_t unmet
    int32_t head
    uint8_t state

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
    int32_t free_edge
    int64_t live_edges
    ints_t met  # what the last settle made runnable
    ints_t broken  # what the last settle made impossible

cdef void graph_init(graph_t *g) noexcept nogil
cdef void graph_free(graph_t *g) noexcept nogil
cdef int32_t graph_add(graph_t *g) noexcept nogil
cdef int graph_depend(graph_t *g, int32_t job, int32_t dependency) noexcept nogil
cdef int32_t graph_join(graph_t *g) noexcept nogil
cdef int graph_join_member(graph_t *g, int32_t join, int32_t job) noexcept nogil
cdef int graph_depend_join(graph_t *g, int32_t job, int32_t join) noexcept nogil
cdef int graph_settle(graph_t *g, int32_t job, bint success) noexcept nogil
