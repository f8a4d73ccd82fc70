# The failures of ranks, for the transport over MPI.
#
# A peer is *failing* once MPI reports its failure (Open MPI does under `mpiexec --with-ft ulfm`) or
# the caller marks it as failed. Its messages are still received. It is *lost* once a number of
# polls has found nothing from it.
from bsbpool._core.comm.mpi.api cimport MPI_Comm, get_failed
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free

cdef enum:
    LAST_POLLS = 8  # polls that find nothing from a failing peer until it is lost

cdef enum peer_state_t:
    ALIVE = 0
    FAILING = 1
    LOST = 2

ctypedef struct peer_t:
    uint8_t state  # a peer_state_t
    uint8_t empty_polls  # since it is failing
    uint32_t n_incoming  # its messages that have not been received completely

ctypedef struct peers_t:
    int size
    peer_t *peers
    uint8_t *reported  # by rank: 1 when MPI has reported its failure
    int n_failing

cdef inline int peers_init(peers_t *p, int size) noexcept nogil:
    p.size = size
    p.peers = <peer_t *>calloc(size, sizeof(peer_t))
    p.reported = <uint8_t *>calloc(size, 1)
    return -1 if p.peers == NULL or p.reported == NULL else 0

cdef inline void peers_free(peers_t *p) noexcept nogil:
    free(p.peers)
    free(p.reported)

cdef inline bint is_alive(peers_t *p, int peer) noexcept nogil:
    return p.peers[peer].state == ALIVE

cdef inline void mark_failed(peers_t *p, int peer) noexcept nogil:
    if p.peers[peer].state == ALIVE:
        p.peers[peer].state = FAILING
        p.n_failing += 1

cdef inline void mark_reported_failures(peers_t *p, MPI_Comm comm) noexcept nogil:
    """Mark the ranks whose failure MPI reports."""
    cdef int peer
    get_failed(comm, p.reported)
    for peer in range(p.size):
        if p.reported[peer]:
            mark_failed(p, peer)

cdef inline void note_message(peers_t *p, int peer) noexcept nogil:
    """Note that a message has arrived: more may follow from a failing peer."""
    if p.peers[peer].state == FAILING:
        p.peers[peer].empty_polls = 0

cdef inline void note_empty_poll(peers_t *p) noexcept nogil:
    """Note that a poll has found nothing."""
    cdef int peer
    for peer in range(p.size):
        if p.peers[peer].state == FAILING and p.peers[peer].empty_polls < LAST_POLLS:
            p.peers[peer].empty_polls += 1

cdef inline int next_lost(peers_t *p) noexcept nogil:
    """Return a peer that is lost from now on, or -1."""
    cdef int peer
    if p.n_failing == 0:
        return -1
    for peer in range(p.size):
        if p.peers[peer].state == FAILING and p.peers[peer].empty_polls >= LAST_POLLS:
            p.peers[peer].state = LOST
            p.n_failing -= 1
            return peer
    return -1
