"""The processes of other ranks on this node, and which of them are gone.

Not every MPI tells of every death: Open MPI 5.0 does not when a process ends itself with an exit
code. Main may be on another node, so the ranks beside the dead one look, and tell it.
"""
from libc.errno cimport ESRCH, errno
from libc.stdlib cimport free, malloc

cdef extern from "<signal.h>" nogil:
    int kill(int, int)


cdef class Neighbours:
    """Looks after some processes.

    Parameters
    ----------
    pids : mapping of int to int
        The number of each rank's process.
    """

    def __init__(self, pids):
        cdef int i
        if self.pids != NULL:
            raise RuntimeError("neighbours are met once")
        self.ranks = <int *>malloc((len(pids) + 1) * sizeof(int))
        self.pids = <int *>malloc((len(pids) + 1) * sizeof(int))
        if self.ranks == NULL or self.pids == NULL:
            raise MemoryError()
        for i, (rank, pid) in enumerate(pids.items()):
            self.ranks[i] = rank
            self.pids[i] = pid
        self.n = len(pids)

    def __dealloc__(self):
        free(self.ranks)
        free(self.pids)

    cdef int next_dead(self) noexcept nogil:
        """Return a rank whose process is gone, each once; -1 when there is none."""
        cdef int i
        for i in range(self.n):
            if self.pids[i] and kill(self.pids[i], 0) != 0 and errno == ESRCH:
                self.pids[i] = 0
                return self.ranks[i]
        return -1
