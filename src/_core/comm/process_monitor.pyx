"""Finds out which processes of other ranks on this node have ended.

Some MPIs do not report every failure: Open MPI 5.0 does not when a process ends itself with an exit
code. The main rank may be on another node, so all ranks monitor the processes of their own node and
report failures to the main rank.

To look at a process takes some system calls. So a worker looks at a few processes at a time, and
at that of the main rank each time. It begins behind its own rank, so that together the workers of a
node look at all processes each time.
"""
from bsbpool._core.processes cimport process_is_gone
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset


cdef class ProcessMonitor:
    """Monitors the processes of other ranks.

    Parameters
    ----------
    pids : mapping of int to int
        The process ID of each other rank, in the order in which to look at them.
    """

    def __init__(self, pids):
        cdef int i
        if self.pids != NULL:
            raise RuntimeError("a ProcessMonitor can be initialized only once")
        # The process IDs of another PID namespace (a container) mean nothing here.
        there = {rank: pid for rank, pid in pids.items() if not process_is_gone(pid)}
        self.n = len(there)
        self.main = -1
        self.ranks = <int *>malloc((self.n + 1) * sizeof(int))
        self.pids = <int *>malloc((self.n + 1) * sizeof(int))
        self.reported = <uint8_t *>calloc(self.n + 1, 1)
        if self.ranks == NULL or self.pids == NULL or self.reported == NULL:
            raise MemoryError()
        for i, (rank, pid) in enumerate(there.items()):
            self.ranks[i] = rank
            self.pids[i] = pid
            if rank == 0:
                self.main = i

    def __dealloc__(self):
        free(self.ranks)
        free(self.pids)
        free(self.reported)

    def dead(self):
        """Return the ranks whose processes have ended."""
        return [self.ranks[i] for i in range(self.n) if process_is_gone(self.pids[i])]

    def newly_dead(self, most=None):
        """Return the ranks whose processes have ended and that were not returned yet.

        Parameters
        ----------
        most : int, optional
            How many processes to look at, besides that of the main rank: the following ones of the
            last call. All by default.
        """
        cdef int rank
        found = []
        self.begin_look(self.n if most is None else most)
        rank = self.next_dead()
        while rank >= 0:
            found.append(rank)
            rank = self.next_dead()
        return found

    cdef void report_all_again(self) noexcept nogil:
        """Let `next_dead` return the dead ranks again that it has returned."""
        memset(self.reported, 0, <size_t>self.n)

    cdef int next_dead(self) noexcept nogil:
        """Return a rank of this look whose process has ended, each once; -1 if there is none."""
        cdef int i
        while self.looks_at_main or self.n_left:
            if self.looks_at_main:
                self.looks_at_main = False
                i = self.main
            else:
                i = self.position
                self.position = i + 1 if i + 1 < self.n else 0
                self.n_left -= 1
            if not self.reported[i] and process_is_gone(self.pids[i]):
                self.reported[i] = True
                return self.ranks[i]
        return -1

    cdef void begin_look(self, int most) noexcept nogil:
        """Let `next_dead` look at `most` further processes, and at that of the main rank."""
        self.n_left = min(most, self.n)
        self.looks_at_main = self.main >= 0 and self.n_left < self.n
