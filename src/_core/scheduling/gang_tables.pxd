# Jobs on several workers at one time, *gangs*: the ones that run, and the workers that are reserved
# for the next one.
#
# While a gang runs, its job is the only one in the queue of each of its workers, the *members*. So
# their queues share one entry, `job_t.next` of it is -1, and nothing may be added behind it:
# `gang_assignment` sets the credit of the members to 1. `job_t.worker` is the first member.
#
# Workers are reserved for one gang at a time. A reserved worker is in no list, so it gets no jobs.
from bsbpool._core.vector cimport grow, ints_free, ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memset

cdef enum:
    GANG_NO_MEMORY = -2
    NO_GANG = -1
    ANY_NODE = -1

ctypedef struct gang_t:
    int32_t job
    int32_t n_left  # the members that have not ended their parts
    int32_t failed_on  # the member that failed first, or -1
    int32_t next_unused  # the next unused gang, plus 1
    uint8_t outcome  # what the job ends with, a status
    bint retries  # whether the job runs again instead
    bint lost  # whether that is because a member has died
    ints_t members  # in ascending order

ctypedef struct gangs_t:
    gang_t *data
    int64_t n
    int64_t capacity
    int32_t unused  # the first unused gang, plus 1
    int64_t n_running
    int32_t next_up  # the entry in `specials_t` for which workers are reserved, or NO_GANG
    int32_t node  # the node of which these are, or ANY_NODE
    int32_t cursor  # where the search for busy workers begins
    ints_t reserved
    ints_t found  # scratch
    ints_t counts  # scratch, by node
    int32_t *node_of  # by worker; NULL if all are on one node
    int32_t n_nodes


cdef inline void gangs_init(gangs_t *g) noexcept nogil:
    memset(g, 0, sizeof(gangs_t))
    g.next_up = NO_GANG
    g.node = ANY_NODE


cdef inline void gangs_free(gangs_t *g) noexcept nogil:
    cdef int64_t i
    for i in range(g.n):
        ints_free(&g.data[i].members)
    free(g.data)
    free(g.node_of)
    ints_free(&g.reserved)
    ints_free(&g.found)
    ints_free(&g.counts)
    gangs_init(g)


cdef inline int32_t gangs_add(gangs_t *g) noexcept nogil:
    """Return the number of a gang that is not in use."""
    cdef int32_t number = g.unused - 1
    if number < 0:
        if grow(<void **>&g.data, &g.capacity, g.n + 1, sizeof(gang_t)) < 0:
            return GANG_NO_MEMORY
        number = <int32_t>g.n
        memset(&g.data[number], 0, sizeof(gang_t))
        g.n += 1
    else:
        g.unused = g.data[number].next_unused
    g.data[number].members.size = 0
    g.n_running += 1
    return number


cdef inline void gangs_remove(gangs_t *g, int32_t number) noexcept nogil:
    """Set that a gang is not in use any more."""
    g.data[number].job = -1
    g.data[number].next_unused = g.unused
    g.unused = number + 1
    g.n_running -= 1
