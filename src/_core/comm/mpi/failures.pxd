# Who lives, for the transport over MPI. A peer dies in three steps. It is *dying* from when MPI
# says that it failed (Open MPI under `mpiexec --with-ft ulfm` does) or somebody who knows gives it
# up: what had come from it is still handed out. It is *lost* when nothing more has come in some
# looks.
from bsbpool._core.comm.mpi.api cimport MPI_Comm, see_deaths
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free

cdef enum:
    LAST_LOOKS = 8  # without anything from a dying peer, until it is lost

cdef enum fate_t:
    ALIVE = 0
    DYING = 1
    LOST = 2

ctypedef struct peer_t:
    uint8_t fate  # a fate_t
    uint8_t looks  # since it was dying

ctypedef struct peers_t:
    int size
    peer_t *each
    uint8_t *failed  # by rank: 1 when MPI says so
    int n_dying

cdef inline int peers_open(peers_t *p, int size) noexcept nogil:
    p.size = size
    p.each = <peer_t *>calloc(size, sizeof(peer_t))
    p.failed = <uint8_t *>calloc(size, 1)
    return -1 if p.each == NULL or p.failed == NULL else 0

cdef inline void peers_free(peers_t *p) noexcept nogil:
    free(p.each)
    free(p.failed)

cdef inline void begin_to_lose(peers_t *p, int peer) noexcept nogil:
    if p.each[peer].fate == ALIVE:
        p.each[peer].fate = DYING
        p.n_dying += 1

cdef inline void note_failures(peers_t *p, MPI_Comm comm) noexcept nogil:
    """MPI tells of a death: find out whose."""
    cdef int peer
    see_deaths(comm, p.failed)
    for peer in range(p.size):
        if p.failed[peer]:
            begin_to_lose(p, peer)

cdef inline void heard(peers_t *p, int peer) noexcept nogil:
    """Something has come: of a dying peer more may follow."""
    if p.each[peer].fate == DYING:
        p.each[peer].looks = 0

cdef inline void look_last(peers_t *p) noexcept nogil:
    """Count the looks that found nothing."""
    cdef int peer
    for peer in range(p.size):
        if p.each[peer].fate == DYING and p.each[peer].looks < LAST_LOOKS:
            p.each[peer].looks += 1

cdef inline int next_lost(peers_t *p) noexcept nogil:
    """Return a peer that is lost from now on, or -1."""
    cdef int peer
    if p.n_dying == 0:
        return -1
    for peer in range(p.size):
        if p.each[peer].fate == DYING and p.each[peer].looks >= LAST_LOOKS:
            p.each[peer].fate = LOST
            p.n_dying -= 1
            return peer
    return -1
